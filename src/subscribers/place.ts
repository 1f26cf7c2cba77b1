// A subscriber's place: one instance holds it at a time; when its lease ends another takes it and goes on from the stored cursor.
import { isTwofoldError } from '../errors.ts'
import type { EventLog, HeldCursor } from '../ports/event-log.ts'
import { backoffMs, pause } from '../runtime/backoff.ts'
import type { CrashPoints } from '../runtime/crash-points.ts'
import type { Logger } from '../runtime/logger.ts'
import type { Service } from '../runtime/service.ts'
import type { Start } from './subscriber.ts'

/** What running a subscriber needs. */
export interface SubscriberRuntime {
  readonly log: EventLog
  readonly logger: Logger
  readonly crash?: CrashPoints | undefined
}

/** What is done while the place is held: resolves soon after `stopping` is aborted, rejects when the place or the database is lost. */
export type Work = (cursor: HeldCursor, stopping: AbortSignal) => Promise<void>

export interface PlaceOptions extends SubscriberRuntime {
  readonly subscriber: string
  readonly start: Start
  /** The SQL of a projection's tables. */
  readonly tables?: string
  readonly work: Work
}

/**
 * The least time between two looks at the log while it has little to give. Every commit rings, so without it each commit of a busy service
 * would cost a query per subscriber (3.6 were counted); a lone event is read at once all the same.
 */
export const LOOK_MS_MIN = 10

/** How long a stop waits for the work, which ends itself earlier; only a batch that never returns takes so long. */
const STOP_MS_MAX = 2500
/** How often an instance asks for a place that another one holds, at the latest. */
const ASK_MS_MAX = 1000

/**
 * A place is `asking` (another instance holds it, or the database is away: asked again within a second), `held` (the work runs) or
 * `stopped`. Whatever ends the work sends it back to asking: nothing is kept in memory between two times of holding.
 */
export class Place implements Service {
  readonly #options: PlaceOptions
  readonly #stopping = new AbortController()
  #loop: Promise<void> | undefined

  constructor(options: PlaceOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { log, subscriber, start, tables } = this.#options
    await log.register(subscriber, tables === undefined ? { start } : { start, tables })
    if (!this.#stopping.signal.aborted) this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    if (this.#loop !== undefined) await settledWithin([this.#loop], STOP_MS_MAX)
  }

  async #run(): Promise<void> {
    const { log, logger, subscriber, work } = this.#options
    const { signal } = this.#stopping
    let failures = 0
    while (!signal.aborted) {
      const began = performance.now()
      try {
        const cursor = await log.hold(subscriber)
        if (cursor === undefined) {
          await pause(ASK_MS_MAX * (0.5 + Math.random() / 2), signal)
          continue
        }
        logger.debug({ subscriber, epoch: cursor.epoch }, 'holds the place of the subscriber')
        await work(cursor, signal)
        await log.release(cursor)
      } catch (error) {
        if (isTwofoldError(error, 'FENCED'))
          logger.warn({ subscriber, err: error }, 'the place of the subscriber was lost; asking for it again')
        else logger.error({ subscriber, err: error }, 'the subscriber was interrupted; it goes on from its stored cursor')
        failures = performance.now() - began > 10_000 ? 1 : failures + 1
        await pause(backoffMs(failures, { minMs: 50, maxMs: ASK_MS_MAX }), signal)
      }
    }
  }
}

/** Resolves when all of them have settled, or after `ms`. */
export async function settledWithin(promises: Iterable<Promise<unknown>>, ms: number): Promise<void> {
  const settled = new AbortController()
  await Promise.race([Promise.allSettled(promises), pause(ms, settled.signal)])
  settled.abort()
}
