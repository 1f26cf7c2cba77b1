// Places where a test lets a process die, stand still, wait, fail or lose its connection: there, and not somewhere near by, must nothing be
// lost. Without TWOFOLD_CRASH there is no object, and a place costs a comparison with `undefined`.
import type { Logger } from './logger.ts'

/** Every place, and what is true in it. */
export const crashPoints = {
  'accept.validated': 'a request has passed validation; nothing of it is stored',
  'accept.unclaimed': 'the Idempotency-Key of a request was looked up, and nobody has used it',
  'accept.append': 'a command is about to be appended to the log',
  'accept.append-sent': 'commands were sent to PostgreSQL to be appended; the answer is still to come',
  'accept.appended': 'a command is durable; its sender does not know yet',
  'accept.called': 'a direct command has its outcome; its sender does not know yet',
  'carrier.claimed': 'a keyed command has its claim; the broker does not have the command',
  'carrier.publish': 'a command is about to be published',
  'carrier.confirmed': 'the broker has a command; its sender does not know yet',
  'carrier.delivered': 'the broker has delivered a command; it is in no batch',
  'carrier.done': 'the effect of a delivered command is stored; the broker does not know yet',
  'carrier.relayed': 'a row of the log was published; it still stands in the log',
  'engine.taken': 'commands were read from the log',
  'engine.loaded': 'the states of a batch are loaded; no handler has run',
  'engine.planned': 'the handlers of a batch have run',
  'engine.commit': 'a batch is about to be stored',
  'engine.commit-sent': 'a batch was sent to PostgreSQL to be stored; the answer is still to come',
  'engine.committed': 'a batch is stored; nobody knows yet',
  'engine.answered': 'the callers of a batch are answered',
  'cross.locked': 'entities of several owners are locked; no handler has run',
  'cross.commit': 'the effects on entities of several owners wait for their COMMIT',
  'cross.commit-sent': 'that COMMIT is sent; the answer is still to come',
  'cross.committed': 'that COMMIT is answered; nobody knows yet',
  'sql.begun': 'an SQL command has its transaction and its keys; its handler has not run',
  'sql.handled': 'the handler of an SQL command has done its work; outcome and events are not in the transaction yet',
  'sql.commit-sent': 'outcome, events and COMMIT of an SQL command are sent; the answer is still to come',
  'sql.committed': 'an SQL command is stored; nobody knows yet',
  'retry.taken': 'commands that had failed are taken up again',
  'retry.stored': 'a failed command is stored, to be tried again',
  'dead-letter.commit': 'a batch with a dead letter is about to be stored',
  'dead-letter.stored': 'a dead letter is stored; nobody knows yet',
  'left-behind.begun': 'the attempts of what a dead owner left are stored; none has run',
  'left-behind.run': 'what a dead owner left has run; its attempts still stand',
  'projection.applied': 'a batch of a projection is applied; its transaction is open',
  'projection.committed': 'a batch of a projection and its cursor are stored',
  'reactor.delivered': 'an event is about to be handled',
  'reactor.handled': 'an event was handled; the cursor stands before it',
  'reactor.checkpointed': 'the cursor of a reactor is stored',
  'transaction.commit-sent': 'the COMMIT of a projection or of housekeeping is sent; the answer is still to come',
  'housekeeping.dropped': 'old outcomes are dropped in a transaction that is still open',
  'housekeeping.deleted': 'old claims are deleted; what comes after is not',
  'lease.renewed': 'the lease of this instance is renewed',
  'handover.dropped': 'partitions are not served here any more; they are still ours',
  'handover.released': 'partitions were given back',
  'handover.claimed': 'partitions were claimed; nothing of them is loaded',
  'handover.adopted': 'partitions are served here',
  'migration.applied': 'a migration was applied in a transaction that is still open',
  'migration.commit': 'all migrations were applied; the transaction is still open',
  'shutdown.begun': 'this process stops: it takes no more requests, its engine still runs',
  'shutdown.drained': 'the engine has stopped; the partitions are still ours',
  'shutdown.left': 'the partitions are given back; connections are still open',
} as const

/** The name of a place. */
export type CrashPoint = keyof typeof crashPoints

/** The places that have a connection to lose. */
const droppable: readonly CrashPoint[] = [
  'accept.append-sent',
  'carrier.publish',
  'carrier.confirmed',
  'carrier.done',
  'engine.commit-sent',
  'cross.commit-sent',
  'sql.commit-sent',
  'transaction.commit-sent',
]

/** What happens: SIGKILL, SIGSTOP, an error, the loss of the connection in use, or a pause. */
export type CrashAction = 'kill' | 'stop' | 'throw' | 'drop' | { readonly delayMs: number }

/** What happens when a place is passed for the `pass`-th time. */
export interface ArmedPoint {
  readonly point: CrashPoint
  readonly pass: number
  readonly action: CrashAction
}

const DELAY_MS_MAX = 60_000

/** Reads `name:n:action`, several separated by commas. A fault is a sentence about one of them. */
export function parseCrashPoints(text: string): { readonly armed: readonly ArmedPoint[]; readonly faults: readonly string[] } {
  const read = text.split(',').map((each) => parseOne(each.trim()))
  return { armed: read.filter((each) => typeof each !== 'string'), faults: read.filter((each) => typeof each === 'string') }
}

function parseOne(text: string): ArmedPoint | string {
  const [, name = '', pass = '', action = '', delay] = /^([a-z.-]+):(\d{1,9}):(kill|stop|throw|drop|delay=(\d{1,5}))$/.exec(text) ?? []
  if (name === '') return `'${text}' is not name:n:action, where action is kill, stop, throw, drop or delay=<milliseconds>`
  const point = Object.keys(crashPoints).find((known): known is CrashPoint => known === name)
  if (point === undefined) return `'${name}' is no crash point; there are ${Object.keys(crashPoints).join(', ')}`
  if (Number(pass) < 1) return `'${text}' can never happen: places are passed for the first time, not for the 0th`
  if (action === 'drop' && !droppable.includes(point)) return `'${name}' has no connection to drop; these have: ${droppable.join(', ')}`
  if (Number(delay ?? 0) > DELAY_MS_MAX) return `'${text}' waits longer than ${DELAY_MS_MAX} ms`
  return { point, pass: Number(pass), action: delay === undefined ? (action as CrashAction) : { delayMs: Number(delay) } }
}

export interface CrashPointsOptions {
  readonly armed: readonly ArmedPoint[]
  readonly log: Logger
  /** Sends a signal to this process. */
  readonly signal: (name: 'SIGKILL' | 'SIGSTOP') => void
}

/** Counts how often the armed places are passed, and acts when it is time. */
export class CrashPoints {
  readonly #options: CrashPointsOptions
  readonly #passed = new Map<CrashPoint, number>()

  constructor(options: CrashPointsOptions) {
    this.#options = options
    for (const armed of options.armed) options.log.warn(armed, 'a crash point is armed: this process is under test')
  }

  /** This place is passed. `drop` cuts the connection that is used here. What it returns is to be awaited where there is time to wait. */
  reach(point: CrashPoint, drop?: () => void): Promise<void> | undefined {
    const passed = (this.#passed.get(point) ?? 0) + 1
    this.#passed.set(point, passed)
    const armed = this.#options.armed.find((each) => each.point === point && each.pass === passed)
    if (armed === undefined) return undefined
    const { action } = armed
    this.#options.log.warn(armed, 'a crash point is reached')
    if (action === 'kill') this.#options.signal('SIGKILL')
    else if (action === 'stop') this.#options.signal('SIGSTOP')
    else if (action === 'drop') drop?.()
    else if (action === 'throw') throw new Error(`the crash point '${point}' was armed to fail at pass ${passed}`)
    else return new Promise((resolve) => setTimeout(resolve, action.delayMs))
    return undefined
  }
}
