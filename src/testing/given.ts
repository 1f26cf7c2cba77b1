// Given states, when a command, plain data back. No server, no database, no assertion language, and no method called `then`.
import type { AnyContract, DataOf, TypesOf } from '../contract/define-contract.ts'
import type { Outcome } from '../contract/outcome.ts'
import { Cell } from '../stateful/engine/cells.ts'
import { CommandRunner } from '../stateful/engine/run-command.ts'
import type { AnyStateful, Stateful } from '../stateful/stateful.ts'

/** Every event of a contract, as emitted. */
export type EmittedBy<C extends AnyContract> = {
  [N in keyof C['events'] & string]: { readonly name: N; readonly data: DataOf<C['events'][N]> }
}[keyof C['events'] & string]

/** What a command did. `states` has every key it was given or touched; removed ones are missing. */
export interface Happened<Reply, Rejections, Emitted, State> {
  readonly outcome: Outcome<Reply, Rejections>
  readonly events: readonly Emitted[]
  readonly states: Readonly<Record<string, State>>
}

/** Where and when a command runs. Default: `command-1`, at the beginning of 1970, without a trace. */
export interface RunAt {
  readonly commandId?: string | undefined
  readonly now?: Date | undefined
  readonly traceparent?: string | undefined
}

/** A function per command. */
export type When<C extends AnyContract, State> = {
  readonly [N in keyof C['commands']]: (
    input: TypesOf<C['commands'][N]>['input'],
    at?: RunAt,
  ) => Happened<TypesOf<C['commands'][N]>['reply'], TypesOf<C['commands'][N]>['rejections'], EmittedBy<C>, State>
}

/**
 * `given(walletsStateful, { a: { balanceCents: 10 } }).when.transfer({ from: 'a', to: 'b', amountCents: 4 })`.
 * The handler runs as in the engine, with the input validated and everything undone when it rejects.
 * @throws what the handler throws, and TwofoldError HANDLER_FAILED for an input, reply or event that does not fit the contract.
 */
export function given<C extends AnyContract, State>(
  side: Stateful<C, State>,
  states: Readonly<Record<string, State>> = {},
): { readonly when: When<C, State> } {
  const any = side as unknown as AnyStateful
  const runs = Object.keys(side.contract.commands).map((name) => [
    name,
    (input: unknown, at: RunAt = {}) => happened(any, states, name, input, at),
  ])
  return { when: Object.fromEntries(runs) as When<C, State> }
}

function happened(
  side: AnyStateful,
  states: Readonly<Record<string, unknown>>,
  name: string,
  input: unknown,
  at: RunAt,
): Happened<unknown, object, unknown, unknown> {
  const commandId = at.commandId ?? 'command-1'
  const cells = new Map(Object.entries(states).map(([key, state]) => [key, cellOf(side, key, state)]))
  const parsed = side.contract.commands[name]?.input['~standard'].validate(input) as { value?: unknown; issues?: unknown }
  const keys = parsed.issues === undefined ? [side.contract.commands[name]?.key(parsed.value, { commandId }) ?? []].flat() : ['']
  const named = keys.map((key) => {
    const cell = cells.get(key) ?? cellOf(side, key)
    cells.set(key, cell)
    return cell
  })
  const ran = new CommandRunner(side).run(name, JSON.stringify(input), named, {
    commandId,
    now: at.now ?? new Date(0),
    traceparent: at.traceparent,
  })
  if (ran.status === 'failed') throw ran.error
  const events =
    ran.status === 'succeeded' ? ran.events.map(({ event, data }) => ({ name: event.name, data: JSON.parse(data) as unknown })) : []
  for (const cell of cells.values()) cell.open()
  const after = [...cells].filter(([, cell]) => cell.exists).map(([key, cell]) => [key, JSON.parse(cell.text) as unknown])
  const version = named[0]?.version ?? 0
  const outcome =
    ran.status === 'succeeded'
      ? { status: 'succeeded', reply: valueOf(ran.reply), version, commandId }
      : { status: 'rejected', code: ran.code, data: valueOf(ran.data), commandId }
  return { outcome: outcome as Outcome<unknown, object>, events, states: Object.fromEntries(after) as Record<string, unknown> }
}

function cellOf(side: AnyStateful, key: string, state?: unknown): Cell {
  const shape = side.entity.upgrades.length + 1
  return new Cell(
    side.entity,
    key,
    state === undefined ? undefined : { service: side.contract.name, key, version: 1, shape, state: JSON.stringify(state) },
  )
}

function valueOf(text: string | undefined): unknown {
  return text === undefined ? undefined : JSON.parse(text)
}
