// What a request has to pass before it is a command: its id is minted, its keys are named, the service's checks agree.
import type { AnyCommand } from '../../contract/command.ts'
import type { Condition } from '../../contract/condition.ts'
import type { Claim, Envelope } from '../../contract/envelope.ts'
import { RejectedByHandler, type Reject } from '../../contract/handler-context.ts'
import { KEYS_PER_COMMAND_MAX, keyFault } from '../../contract/key.ts'
import { check, pointerSegment } from '../../contract/schema.ts'
import { TwofoldError } from '../../errors.ts'
import { madeAt } from '../../ports/command-ids.ts'
import type { AnyStateless, CheckContext, Principal } from '../stateless.ts'
import { JSON_TYPE, type Answer } from './answer.ts'
import { statusOfRejection } from './outcome-answer.ts'
import { invalidInput, rejectionProblem } from './problem.ts'

/** Who sent the command. The signal is made when a check asks for it: most never do. */
interface Caller {
  readonly principal: Principal | undefined
  signal(): AbortSignal
}

/** What a request says besides its input. */
export interface Terms {
  readonly claim: Claim | undefined
  readonly condition: Condition | undefined
  readonly traceparent: string | undefined
}

/** One command's way in, compiled from its contract and its service's stateless side. */
export interface CommandEntry {
  readonly command: AnyCommand
  readonly hasCheck: boolean
  /** Makes the envelope. @throws TwofoldError INVALID_KEY */
  envelope(input: unknown, id: string, terms: Terms): Envelope
  /** Runs the check, if there is one. An answer: the check said no by a rejection. @throws TwofoldError INVALID_INPUT */
  check(input: unknown, envelope: Envelope, caller: Caller): Promise<Answer | undefined>
  /** The 202. All of it derives from the command's id, so that it can be made again. */
  accepted(input: unknown, commandId: string, homeKey: string, location: string): Answer
  /** The first key of the command this input would be under another id. */
  homeKey(input: unknown, commandId: string): string
}

/** @throws TwofoldError INVALID_APP where the contract declares an optimistic answer and nobody makes it. */
export function compileCommand(command: AnyCommand, side: AnyStateless | undefined): CommandEntry {
  const { service, name } = command
  const runCheck = side?.spec.checks?.[name]
  const makeOptimistic = command.optimistic && side?.spec.optimistic?.[name]
  if (command.optimistic && !makeOptimistic) {
    throw new TwofoldError(
      'INVALID_APP',
      `command '${service}.${name}' declares an optimistic answer, but no stateless side of '${service}' makes it`,
    )
  }
  const reject = rejectsOf(command)
  const keysOf = (input: unknown, commandId: string): readonly string[] => checkedKeys(command, input, command.key(input, { commandId }))

  return {
    command,
    hasCheck: runCheck !== undefined,
    envelope(input, id, { claim, condition, traceparent }) {
      const envelope = { id, service, command: name, keys: keysOf(input, id), input: JSON.stringify(input) }
      if (claim === undefined && condition === undefined && traceparent === undefined) return envelope
      return { ...envelope, ...(claim && { claim }), ...(condition && { condition }), ...(traceparent !== undefined && { traceparent }) }
    },
    async check(input, { id, keys }, caller) {
      if (runCheck === undefined) return undefined
      try {
        await runCheck(input, {
          key: keys.length === 1 ? (keys[0] ?? '') : keys,
          commandId: id,
          principal: caller.principal,
          reject,
          invalid,
          get signal() {
            return caller.signal()
          },
        })
        return undefined
      } catch (thrown) {
        if (!(thrown instanceof RejectedByHandler)) throw thrown
        return rejectionProblem({
          service,
          code: thrown.code,
          status: statusOfRejection(command, thrown.code),
          data: thrown.data as string | undefined,
        })
      }
    },
    accepted(input, commandId, key, location) {
      if (!makeOptimistic) return queuedAnswer(commandId, location)
      // A first answer and its repetition must not differ by the clock.
      const made = makeOptimistic(input, { key, commandId, now: new Date(madeAt(commandId)) })
      const body = declared(command.optimistic, made, `the optimistic answer of '${service}.${name}'`)
      return { ...queuedAnswer(commandId, location), body: JSON.stringify(body) }
    },
    homeKey: (input, commandId) => keysOf(input, commandId)[0] ?? '',
  }
}

/** The 202 of a command that has no optimistic answer: its id, and where to ask for its outcome. */
export function queuedAnswer(commandId: string, location: string): Answer {
  const headers = { 'content-type': JSON_TYPE, location, 'retry-after': '1', 'twofold-command-id': commandId }
  return { status: 202, headers, body: JSON.stringify({ commandId, status: 'queued', location }) }
}

/** A value through its schema: only declared fields leave. @throws TypeError naming `what` where it does not fit. */
export function declared(schema: AnyCommand['reply'], value: unknown, what: string): unknown {
  if (schema === undefined) return undefined
  const checked = check(schema, value)
  if (!checked.faults) return checked.value
  const faults = checked.faults.map(({ path, message }) => `${path === '' ? 'it' : path}: ${message}`).join('; ')
  throw new TypeError(`${what} is not what the contract says: ${faults}`)
}

function checkedKeys(command: AnyCommand, input: unknown, given: string | readonly string[]): readonly string[] {
  const keys = typeof given === 'string' ? [given] : given
  const of = `of command '${command.service}.${command.name}'`
  if (keys.length < 1 || keys.length > KEYS_PER_COMMAND_MAX) {
    throw new TwofoldError('INVALID_KEY', `a command changes 1 to ${KEYS_PER_COMMAND_MAX} entities; the input ${of} names ${keys.length}`)
  }
  for (let at = 0; at < keys.length; at += 1) {
    const fault = keyFault(keys[at])
    if (fault === undefined) continue
    const faults = [{ path: pointerTo(keys[at], input), message: fault }]
    throw new TwofoldError('INVALID_KEY', `key ${at + 1} ${of}: ${fault}`, { faults })
  }
  return keys
}

/** Where in the input a key stands, as a JSON pointer; `''` for one that is made of several fields. */
function pointerTo(key: unknown, input: unknown): string {
  const field = Object.entries(input as Record<string, unknown>).find(([, value]) => value === key)
  return field === undefined ? '' : `/${pointerSegment(field[0])}`
}

/** Made once per command: a rejection's data passes its schema at once and travels as JSON text. */
function rejectsOf(command: AnyCommand): Reject<Record<string, never>> {
  const rejects = Object.entries(command.rejections).map(([code, { schema }]) => {
    const reject = (data: unknown): never => {
      const fitting = declared(schema, data, `the data of rejection '${code}' of '${command.service}.${command.name}'`)
      throw new RejectedByHandler(code, fitting === undefined ? undefined : JSON.stringify(fitting))
    }
    return [code, reject]
  })
  return Object.fromEntries(rejects) as Reject<Record<string, never>>
}

const invalid: CheckContext<unknown>['invalid'] = (path, message) => {
  throw invalidInput([{ path, message }])
}
