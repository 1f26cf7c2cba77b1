// Reading one's own write: waits until the cursors of all read models of a service have passed a position of the event log.
import type { Database } from '../../ports/database.ts'
import type { ConsistencyToken, ProjectionProgress } from '../../ports/projections.ts'
import { Wake } from '../../runtime/wake.ts'

/** The wake-ups of moved cursors: hints, nothing is lost with them. */
export interface CursorSignals {
  listen(channel: 'cursor', wake: () => void): () => void
}

export interface PostgresProjectionProgressOptions {
  readonly database: Database
  readonly signals: CursorSignals
  /** Of each service, the names of the projections over it. */
  readonly projections: ReadonlyMap<string, readonly string[]>
}

interface Waiter {
  readonly subscribers: readonly string[]
  readonly token: ConsistencyToken
  readonly settle: (passed: boolean) => void
}

/** How long the cursors are looked at again after, at first and at last; a wake-up looks at once. */
const POLL_MS_MIN = 10
const POLL_MS_MAX = 100

/** All that wait in this process are answered by one query a tick. While nobody waits nothing runs. */
export class PostgresProjectionProgress implements ProjectionProgress {
  readonly #options: PostgresProjectionProgressOptions
  readonly #waiters = new Set<Waiter>()
  readonly #wake = new Wake()
  #watching = false

  constructor(options: PostgresProjectionProgressOptions) {
    this.#options = options
  }

  caughtUp(service: string, token: ConsistencyToken, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const subscribers = this.#options.projections.get(service) ?? []
    if (subscribers.length === 0) return Promise.resolve(true)
    if (signal?.aborted) return Promise.resolve(false)
    return new Promise((resolve) => {
      const giveUp = (): void => waiter.settle(false)
      const waiter: Waiter = {
        subscribers,
        token,
        settle: (passed) => {
          this.#waiters.delete(waiter)
          clearTimeout(timer)
          signal?.removeEventListener('abort', giveUp)
          resolve(passed)
        },
      }
      const timer = setTimeout(giveUp, timeoutMs)
      signal?.addEventListener('abort', giveUp, { once: true })
      this.#waiters.add(waiter)
      this.#wake.ring()
      if (!this.#watching) void this.#watch()
    })
  }

  /** Runs while somebody waits. */
  async #watch(): Promise<void> {
    this.#watching = true
    const stopListening = this.#options.signals.listen('cursor', () => this.#wake.ring())
    let pollMs = POLL_MS_MIN
    while (this.#waiters.size > 0) {
      const rung = await this.#wake.sleep(pollMs)
      pollMs = rung ? POLL_MS_MIN : Math.min(POLL_MS_MAX, pollMs * 2)
      // Without the database nobody has caught up: each waiter's own time limit answers it.
      await this.#look().catch(() => undefined)
    }
    stopListening()
    this.#watching = false
  }

  async #look(): Promise<void> {
    const waiters = [...this.#waiters]
    const subscribers = [...new Set(waiters.flatMap((waiter) => waiter.subscribers))]
    if (subscribers.length === 0) return
    const { rows } = await this.#options.database.query<{ subscriber: string; positions: string[] }>(
      'select subscriber, positions from twofold._cursor where subscriber = any($1)',
      [subscribers],
    )
    const positions = new Map(rows.map((row) => [row.subscriber, row.positions]))
    for (const { subscribers: all, token, settle } of waiters) {
      if (all.every((name) => Number(positions.get(name)?.[token.partition] ?? -1) >= token.eventSeq)) settle(true)
    }
  }
}
