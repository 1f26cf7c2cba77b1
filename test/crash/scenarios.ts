// How each crash point is reached while work is under way. A point that is in the source and not here turns a test red.
import type { CrashPoint } from '../../src/runtime/crash-points.ts'

export interface Scenario {
  /**
   * Which of two instances is armed. The first one owns everything until the second one has been there for two seconds; then they share.
   * `fresh`: the first one, on an empty database, which is then set up by the second.
   */
  readonly armed: 'first' | 'second' | 'fresh'
  /** What the test does to bring the armed one to the point: nothing, or it kills or stops the first one. */
  readonly meanwhile?: 'kill the first' | 'stop the first'
  /** A broker carries the commands. `refuse`, `log`: what happens while it is away, which it is for a while with `log`. */
  readonly broker?: 'refuse' | 'log'
  /** Makes something old for housekeeping to remove. */
  readonly old?: boolean
  /** The point is passed so many times before it acts, at least: what is passed at the start does not count. */
  readonly passes: number
  /** Up to so many more, drawn from the seed. */
  readonly spread: number
}

const first: Scenario = { armed: 'first', passes: 2, spread: 8 }

/** Passed once in the life of an instance. */
const once = { passes: 1, spread: 1 }

export const scenarios: Readonly<Record<CrashPoint, Scenario>> = {
  'accept.validated': first,
  'accept.unclaimed': first,
  'accept.append': first,
  'accept.append-sent': first,
  'accept.appended': first,
  'accept.called': first,
  'carrier.claimed': { ...first, broker: 'refuse' },
  'carrier.publish': { ...first, broker: 'refuse' },
  'carrier.confirmed': { ...first, broker: 'refuse' },
  'carrier.delivered': { ...first, broker: 'refuse' },
  'carrier.done': { ...first, broker: 'refuse' },
  'carrier.relayed': { ...first, ...once, broker: 'log' },
  'engine.taken': first,
  'engine.loaded': first,
  'engine.planned': first,
  'engine.commit': first,
  'engine.commit-sent': first,
  'engine.committed': first,
  'engine.answered': first,
  'cross.locked': first,
  'cross.commit': first,
  'cross.commit-sent': first,
  'cross.committed': first,
  'sql.begun': first,
  'sql.handled': first,
  'sql.commit-sent': first,
  'sql.committed': first,
  'retry.taken': first,
  'retry.stored': first,
  'dead-letter.commit': { ...first, spread: 3 },
  'dead-letter.stored': { ...first, spread: 3 },
  'left-behind.begun': { armed: 'second', meanwhile: 'kill the first', ...once },
  'left-behind.run': { armed: 'second', meanwhile: 'kill the first', ...once },
  'projection.applied': first,
  'projection.committed': first,
  'reactor.delivered': first,
  'reactor.handled': first,
  'reactor.checkpointed': first,
  // A start makes the tables of five hours, and each subscriber registers; what is lost there ends the start.
  'transaction.commit-sent': { ...first, passes: 30 },
  'housekeeping.dropped': { armed: 'second', old: true, ...once },
  'housekeeping.deleted': { armed: 'second', old: true, ...once },
  'lease.renewed': { ...first, passes: 1, spread: 4 },
  'handover.dropped': { ...first, ...once },
  'handover.released': { ...first, ...once },
  'handover.claimed': { armed: 'second', ...once },
  'handover.adopted': { armed: 'second', ...once },
  'migration.applied': { armed: 'fresh', passes: 1, spread: 4 },
  'migration.commit': { armed: 'fresh', ...once },
  'shutdown.begun': { ...first, meanwhile: 'stop the first', ...once },
  'shutdown.drained': { ...first, meanwhile: 'stop the first', ...once },
  'shutdown.left': { ...first, meanwhile: 'stop the first', ...once },
}
