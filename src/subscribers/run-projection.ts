// Keeps a read model up to date: reads events, hands them to the batch, and moves the cursor in the batch's own transaction.
import type { EventRecord, EventSlice, HeldCursor, Positions } from '../ports/event-log.ts'
import { backoffMs, pause } from '../runtime/backoff.ts'
import type { Service } from '../runtime/service.ts'
import { Wake } from '../runtime/wake.ts'
import { Interest, positionsAfter } from './interest.ts'
import { LOOK_MS_MIN, Place, type SubscriberRuntime } from './place.ts'
import type { Projection } from './projection.ts'

/** About how many events one batch gets at most. */
const BATCH_SIZE_MAX = 4096

/** An idle projection looks for events after 25 ms, then ever later; a wake-up ends the sleep at once. */
const IDLE_MS_MIN = 25
const IDLE_MS_MAX = 1000

/** A batch that throws is tried again, for ever: leaving its events out would make the read model wrong. */
const RETRY = { minMs: 100, maxMs: 30_000 }

// Events of other services move the cursor too: a consistency token may point behind one of them. Each move alone would be a write per
// poll, so a projection that has caught up stores its place at most ten times a second, and one that still reads once a second.
const SAVE_MS_CAUGHT_UP = 100
const SAVE_MS_READING = 1000

/** The running projection. It registers itself when it starts. @throws TwofoldError PROJECTION_CHANGED from `start`. */
export function runProjection(projection: Projection, runtime: SubscriberRuntime): Service {
  const { name, start, tables } = projection
  const work = (cursor: HeldCursor, stopping: AbortSignal): Promise<void> => new Follower(projection, runtime, cursor, stopping).follow()
  return new Place({ ...runtime, subscriber: name, start, tables, work })
}

/** One time of holding the place. */
class Follower {
  readonly #projection: Projection
  readonly #runtime: SubscriberRuntime
  readonly #stopping: AbortSignal
  readonly #interest: Interest
  #cursor: HeldCursor
  /** What was read and holds nothing of interest, beyond the stored cursor. */
  #seen: Positions
  #savedAt = -Infinity
  #failures = 0

  constructor(projection: Projection, runtime: SubscriberRuntime, cursor: HeldCursor, stopping: AbortSignal) {
    this.#projection = projection
    this.#runtime = runtime
    this.#stopping = stopping
    this.#interest = new Interest(projection.from)
    this.#cursor = cursor
    this.#seen = cursor.positions
  }

  async follow(): Promise<void> {
    const wake = new Wake()
    const ring = (): void => wake.ring()
    const stopListening = this.#runtime.log.onAppended(ring)
    this.#stopping.addEventListener('abort', ring, { once: true })
    try {
      await this.#run(wake)
    } finally {
      stopListening()
      this.#stopping.removeEventListener('abort', ring)
    }
  }

  async #run(wake: Wake): Promise<void> {
    let idleMs = IDLE_MS_MIN
    while (!this.#stopping.aborted) {
      const lookedAt = performance.now()
      const slices = await this.#runtime.log.read(this.#seen, BATCH_SIZE_MAX)
      const seen = positionsAfter(this.#seen, slices)
      const records = slices.flatMap((slice) => slice.events.filter((record) => this.#interest.has(record)))
      if (records.length > 0) {
        await this.#apply(records, seen)
        await this.#gather(slices, lookedAt)
      } else {
        this.#seen = seen
        if (slices.length > 0) await this.#gather(slices, lookedAt)
        const saveInMs = await this.#save(slices.length === 0 ? SAVE_MS_CAUGHT_UP : SAVE_MS_READING)
        if (slices.length === 0) {
          const rung = await wake.sleep(Math.min(idleMs, saveInMs))
          idleMs = rung ? IDLE_MS_MIN : Math.min(IDLE_MS_MAX, idleMs * 2)
          continue
        }
      }
      idleMs = IDLE_MS_MIN
    }
    await this.#save(0)
  }

  /** Lets events gather, unless there were so many that more are waiting already. */
  async #gather(slices: readonly EventSlice[], lookedAt: number): Promise<void> {
    const count = slices.reduce((sum, slice) => sum + slice.events.length, 0)
    const waitMs = LOOK_MS_MIN - (performance.now() - lookedAt)
    if (count < BATCH_SIZE_MAX / 2 && waitMs > 0) await pause(waitMs, this.#stopping)
  }

  /** Hands the events over. A batch that throws leaves everything as it was, to be read and tried again. */
  async #apply(records: readonly EventRecord[], to: Positions): Promise<void> {
    const { log, logger } = this.#runtime
    let thrown: { readonly error: unknown } | undefined
    try {
      this.#cursor = await log.advance(this.#cursor, to, async (transaction) => {
        try {
          await this.#projection.batch(
            records.map((record) => this.#interest.lifted(record)),
            transaction,
          )
          await this.#runtime.crash?.reach('projection.applied')
        } catch (error) {
          thrown = { error }
          throw error
        }
      })
      await this.#runtime.crash?.reach('projection.committed')
      this.#seen = to
      this.#savedAt = performance.now()
      this.#failures = 0
    } catch (error) {
      if (thrown === undefined) throw error
      this.#failures += 1
      const waitMs = backoffMs(this.#failures, RETRY)
      const { name } = this.#projection
      logger.error(
        { subscriber: name, err: thrown.error, attempt: this.#failures, events: records.length, first: records[0]?.id, waitMs },
        'a batch of the projection failed and was rolled back; it is tried again',
      )
      await pause(waitMs, this.#stopping)
    }
  }

  /** Stores how far was read without anything of interest, unless that was done less than `everyMs` ago. Returns when it is due. */
  async #save(everyMs: number): Promise<number> {
    if (this.#seen === this.#cursor.positions) return Infinity
    const dueInMs = this.#savedAt + everyMs - performance.now()
    if (dueInMs > 0) return dueInMs
    this.#cursor = await this.#runtime.log.advance(this.#cursor, this.#seen)
    this.#savedAt = performance.now()
    return Infinity
  }
}
