// Runs one command on the states it names: all of it in memory, all of it undone when the command rejects or throws.
import type { AnyCommand } from '../../contract/command.ts'
import type { AnyEvent } from '../../contract/event.ts'
import { RejectedByHandler } from '../../contract/handler-context.ts'
import { check, type Schema } from '../../contract/schema.ts'
import { TwofoldError } from '../../errors.ts'
import type { AnyContext, AnyHandler, AnyStateful } from '../stateful.ts'
import type { Cell } from './cells.ts'
import type { HandlerWatch } from './watchdog.ts'

/** An emitted event; `data` is JSON text, taken at the call, because the handler may go on changing what it emitted. */
export interface Emitted {
  readonly event: AnyEvent
  readonly data: string
}

/** How one run ended. `failed`: the handler threw; the command may be tried again. Texts are JSON. */
export type Ran =
  | {
      readonly status: 'succeeded'
      readonly reply: string | undefined
      readonly events: readonly Emitted[]
    }
  | { readonly status: 'rejected'; readonly code: string; readonly data: string | undefined }
  | { readonly status: 'failed'; readonly error: unknown }

/** What a handler does during its run. There is one at a time: handlers are synchronous. */
interface Run {
  readonly cells: readonly Cell[]
  // Made when a handler asks for them: most never do.
  events: Emitted[] | undefined
  replaced: Map<Cell, unknown> | undefined
  removed: Set<Cell> | undefined
}

/** A command of this side, ready to run. */
interface Ready {
  readonly command: AnyCommand
  readonly handler: AnyHandler
  /** One for all runs, filled anew for each: nobody has it between two runs, because handlers are synchronous. */
  readonly context: { -readonly [Field in keyof AnyContext]: AnyContext[Field] }
}

/** What a run is given besides its input and its states. */
export interface Given {
  readonly commandId: string
  readonly now: Date
  readonly traceparent?: string | undefined
  /** The home entity, which does not exist, exists when this has succeeded, whatever the handler made of its state. Default: no. */
  readonly creates?: boolean
}

const NO_EVENTS: readonly Emitted[] = []

/** The commands of one stateful side, ready to run. `emit`, `reject` and the rest are made once and not per command. */
export class CommandRunner {
  readonly #commands: ReadonlyMap<string, Ready>
  readonly #emit: AnyContext['emit']
  readonly #side: AnyStateful
  readonly #watch: HandlerWatch | undefined
  #run: Run | undefined

  constructor(side: AnyStateful, watch?: HandlerWatch) {
    this.#side = side
    this.#watch = watch
    this.#emit = mapEach(side.contract.events, (event) => (data: unknown) => {
      const run = this.#current('emit')
      const one = emitted(event, data)
      if (run.events === undefined) run.events = [one]
      else run.events.push(one)
    })
    this.#commands = new Map(
      Object.values(side.contract.commands).map((command) => {
        const handler = side.handlers[command.name]
        if (handler === undefined) throw new TwofoldError('INVALID_APP', `command ${command.service}.${command.name} has no handler`)
        return [command.name, { command, handler, context: this.#contextOf(command) }]
      }),
    )
  }

  /** The contract's part of that name, if this program knows one. */
  command(name: string): AnyCommand | undefined {
    return this.#commands.get(name)?.command
  }

  /** Validates `input` again (it may have been queued before a deploy) and runs the handler. Never throws. */
  run(name: string, input: string, cells: readonly Cell[], given: Given): Ran {
    const known = this.#commands.get(name)
    if (known === undefined) return { status: 'failed', error: unknown(this.#side.contract.name, name) }
    const distinct = cells.length === 1 ? cells : [...new Set(cells)]
    const run: Run = { cells: distinct, events: undefined, replaced: undefined, removed: undefined }
    this.#run = run
    this.#watch?.began(given.commandId)
    try {
      const parsed = checked(known.command.input, JSON.parse(input), `the input of ${this.#side.contract.name}.${name}`)
      for (const cell of distinct) cell.open()
      // The same key twice is the same object, so that money moved to itself is not made.
      const states = isSingle(known.command, parsed, given.commandId, cells) ? cells[0]?.state : cells.map((cell) => cell.state)
      const { context } = known
      context.key = cells[0]?.key ?? ''
      context.commandId = given.commandId
      context.now = given.now
      context.traceparent = given.traceparent
      return this.#keep(known.command, known.handler(states, parsed, context), run, given.creates === true)
    } catch (error) {
      for (const cell of distinct) cell.undo()
      if (!(error instanceof RejectedByHandler)) return { status: 'failed', error }
      return rejected(known.command, error)
    } finally {
      this.#watch?.ended()
      this.#run = undefined
    }
  }

  #keep(command: AnyCommand, reply: unknown, run: Run, creates: boolean): Ran {
    if (typeof (reply as { then?: unknown } | null | undefined)?.then === 'function') {
      // It fails its command here. What becomes of it later is nobody's business any more, and must not end the process.
      Promise.resolve(reply).catch(() => undefined)
      throw misused(`the handler of ${command.service}.${command.name} returned a promise; entity handlers are synchronous`)
    }
    const text = command.reply && JSON.stringify(checked(command.reply, reply, `the reply of ${command.service}.${command.name}`))
    const [first] = run.cells
    if (run.cells.length === 1 && first !== undefined && run.replaced === undefined && run.removed === undefined)
      first.keep(first.state, first.serialize(first.state))
    else keepAll(run)
    if (creates && first !== undefined && run.removed?.has(first) !== true) first.create()
    return { status: 'succeeded', reply: text, events: run.events ?? NO_EVENTS }
  }

  #contextOf(command: AnyCommand): Ready['context'] {
    return {
      key: '',
      commandId: '',
      now: new Date(0),
      traceparent: undefined,
      emit: this.#emit,
      reject: rejecters(command),
      replace: this.#replace,
      remove: this.#remove,
      exists: this.#exists,
    }
  }

  readonly #replace = (current: unknown, next: unknown, key?: string): void => {
    const run = this.#current('replace')
    run.replaced = (run.replaced ?? new Map<Cell, unknown>()).set(cellOf(run, current, key), next)
  }

  readonly #remove = (current: unknown, key?: string): void => {
    const run = this.#current('remove')
    run.removed = (run.removed ?? new Set<Cell>()).add(cellOf(run, current, key))
  }

  readonly #exists = (current: unknown, key?: string): boolean => cellOf(this.#current('exists'), current, key).exists

  #current(what: string): Run {
    if (this.#run === undefined)
      throw misused(`${what} was called after its handler had returned; a handler does everything before it returns`)
    return this.#run
  }
}

/** All states are serialized before any is kept, so that one that cannot be leaves no trace in the others. */
function keepAll({ cells, replaced, removed }: Run): void {
  const states = cells.map((cell) => (replaced?.has(cell) ? replaced.get(cell) : cell.state))
  const texts = cells.map((cell, at) => (removed?.has(cell) ? cell.initial() : cell.serialize(states[at])))
  for (const [at, cell] of cells.entries()) {
    if (removed?.has(cell)) cell.remove(texts[at] ?? '')
    // With several keys a part of one state may have become a part of another: what changes one of them later must not change both.
    else cell.replace(texts[at] ?? '')
  }
}

/** Whether the handler gets one state and not a list of them: as this input's key is one text or a list of them. */
function isSingle({ key, service, name }: AnyCommand, parsed: unknown, commandId: string, cells: readonly Cell[]): boolean {
  const isText = typeof key(parsed, { commandId }) === 'string'
  if (!isText || cells.length === 1) return isText
  throw misused(`${service}.${name} was sent with ${cells.length} keys, and its key is one text now; it may come from another program`)
}

export function rejected(command: AnyCommand, { code, data }: RejectedByHandler): Ran {
  try {
    const schema = command.rejections[code]?.schema
    return { status: 'rejected', code, data: schema && JSON.stringify(checked(schema, data, `the data of rejection '${code}'`)) }
  } catch (error) {
    return { status: 'failed', error }
  }
}

/** What leaves the handler passes its schema, so that a whole state returned as a reply does not leak its other fields. */
export function checked(schema: Schema, value: unknown, what: string): unknown {
  const result = check(schema, value)
  if (result.faults === undefined) return result.value
  const faults = result.faults.map((fault) => `${fault.path || '/'}: ${fault.message}`).join('; ')
  throw new TwofoldError('HANDLER_FAILED', `${what} does not fit the contract: ${faults}`, { faults: result.faults })
}

export function emitted(event: AnyEvent, data: unknown): Emitted {
  return {
    event,
    data: JSON.stringify(checked(event.data, data, `the data of event ${event.service}.${event.name}`)),
  }
}

export function rejecters(command: AnyCommand): AnyContext['reject'] {
  return mapEach(command.rejections, (_, code) => (data: unknown) => {
    throw new RejectedByHandler(code, data)
  })
}

/** Objects are told apart by which they are. Plain values are not: those of several keys may be equal, and then only the key tells whose it is. */
function cellOf(run: Run, state: unknown, key: string | undefined): Cell {
  const isMeant = (cell: Cell): boolean => cell.state === state || (run.replaced?.has(cell) === true && run.replaced.get(cell) === state)
  const [cell, another] = run.cells.filter((each) => (key === undefined || each.key === key) && isMeant(each))
  if (cell === undefined)
    throw misused('replace, remove and exists take the state that the handler was given, and its key where one is named')
  if (another === undefined) return cell
  throw misused(`'${cell.key}' and '${another.key}' have equal states: replace, remove and exists need the key as their last argument`)
}

export function mapEach<Part>(parts: Readonly<Record<string, Part>>, make: (part: Part, name: string) => unknown): Record<string, never> {
  return Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, make(part, name) as never]))
}

export function unknown(service: string, name: string): TwofoldError {
  return new TwofoldError('UNKNOWN_COMMAND', `service ${service} has no command '${name}' in this program; it may come from a newer one`)
}

export function misused(message: string): TwofoldError {
  return new TwofoldError('HANDLER_MISUSED', message)
}
