// Outcomes, for those who wait: all waiters of a process are answered by one query, woken by a ring and polled in between.
import type { StoredClaim } from '../../ports/command-log.ts'
import type { Database } from '../../ports/database.ts'
import type { Outcomes, PendingCommand, StoredOutcome } from '../../ports/outcomes.ts'
import type { Logger } from '../../runtime/logger.ts'
import { Wake } from '../../runtime/wake.ts'
import { plainArray } from './array-literal.ts'
import { CLAIM_COLUMNS, storedClaim, type ClaimRow } from './claim-rows.ts'
import { lowestIdAt } from './command-ids.ts'
import { OUTCOME_COLUMNS, storedOutcome, type OutcomeRow } from './outcome-rows.ts'

export interface OutcomesOptions {
  readonly database: Database
  readonly signals: { listen(channel: 'outcome', wake: () => void): () => void }
  readonly log: Logger
  /** Whether an engine of this very process has the command in a batch right now. */
  readonly inHand?: ((commandId: string) => boolean) | undefined
}

interface Waiter {
  readonly id: string
  readonly settle: (outcome: StoredOutcome | undefined, error?: Error) => void
}

/** Outcomes of this process's own engine that are answered without asking the database. */
const RECENT_MAX = 10_000

const POLL_MS_MIN = 25
const POLL_MS_MAX = 1000

/** The longest a command may travel between getting its id and being appended: the longest wait of a caller, generously. */
const TRAVEL_MS = 300_000

const FIND = `select ${OUTCOME_COLUMNS} from twofold._outcome where id = any($1::uuid[])`

// Ids rise with time, so a row whose span covers the id was appended around then; few rows are left to look into.
const QUEUED = `select exists (select 1 from twofold._command
  where first_id <= $1 and first_id > $2 and last_id >= $1 and position($1::text in body) > 0) as queued`

export class PostgresOutcomes implements Outcomes {
  readonly #options: OutcomesOptions
  readonly #waiters = new Set<Waiter>()
  readonly #recent = new Map<string, StoredOutcome>()
  readonly #wake = new Wake()
  #watching = false

  constructor(options: OutcomesOptions) {
    this.#options = options
  }

  /** The engine of this very process has committed these: whoever waits for one of them is told at once. */
  committed(outcomes: readonly StoredOutcome[]): void {
    for (const outcome of outcomes) this.#recent.set(outcome.id, outcome)
    for (const waiter of this.#waiters) {
      const outcome = this.#recent.get(waiter.id)
      if (outcome) waiter.settle(outcome)
    }
    for (const id of this.#recent.keys()) {
      if (this.#recent.size <= RECENT_MAX) return
      this.#recent.delete(id)
    }
  }

  find(commandId: string, timeoutMs: number, signal?: AbortSignal): Promise<StoredOutcome | undefined> {
    const recent = this.#recent.get(commandId)
    if (recent) return Promise.resolve(recent)
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        id: commandId,
        settle: (outcome, error) => {
          if (!this.#waiters.delete(waiter)) return
          clearTimeout(timer)
          signal?.removeEventListener('abort', giveUp)
          if (error === undefined) resolve(outcome)
          else reject(error)
        },
      }
      const giveUp = (): void => waiter.settle(undefined)
      const timer = timeoutMs > 0 ? setTimeout(giveUp, timeoutMs) : undefined
      this.#waiters.add(waiter)
      if (signal?.aborted) return giveUp()
      if (timeoutMs <= 0) return this.#lookOnce(waiter)
      signal?.addEventListener('abort', giveUp, { once: true })
      this.#wake.ring()
      if (!this.#watching) void this.#watch()
    })
  }

  async pending(commandId: string): Promise<PendingCommand | undefined> {
    if (this.#options.inHand?.(commandId)) return { id: commandId, status: 'running', attempts: 0 }
    const { database } = this.#options
    const parked = await database.query<{ attempts: number }>('select attempts from twofold._parked where id = $1', [commandId])
    const attempts = parked.rows[0]?.attempts
    if (attempts !== undefined) return { id: commandId, status: attempts > 0 ? 'running' : 'queued', attempts }
    const madeAt = Number.parseInt(commandId.replaceAll('-', '').slice(0, 12), 16)
    const { rows } = await database.query<{ queued: boolean }>(QUEUED, [commandId, lowestIdAt(madeAt - TRAVEL_MS)])
    return rows[0]?.queued ? { id: commandId, status: 'queued', attempts: 0 } : undefined
  }

  async claim(hash: string): Promise<StoredClaim | undefined> {
    const { rows } = await this.#options.database.query<ClaimRow>(`select ${CLAIM_COLUMNS} from twofold._claim where hash = $1`, [hash])
    return rows[0] && storedClaim(rows[0])
  }

  #lookOnce(waiter: Waiter): void {
    this.#query([waiter.id]).then(
      (found) => waiter.settle(found.get(waiter.id)),
      (error: Error) => waiter.settle(undefined, error),
    )
  }

  /** Runs while somebody waits. A failing look is not the end: the waiters have their own deadlines. */
  async #watch(): Promise<void> {
    this.#watching = true
    const unlisten = this.#options.signals.listen('outcome', () => this.#wake.ring())
    let pollMs = POLL_MS_MIN
    while (this.#waiters.size > 0) {
      const rung = await this.#wake.sleep(pollMs)
      pollMs = rung ? POLL_MS_MIN : Math.min(POLL_MS_MAX, pollMs * 2)
      if (this.#waiters.size === 0) break
      try {
        const found = await this.#query([...new Set([...this.#waiters].map((waiter) => waiter.id))])
        for (const waiter of this.#waiters) {
          const outcome = found.get(waiter.id)
          if (outcome) waiter.settle(outcome)
        }
      } catch (error) {
        this.#options.log.debug({ reason: String(error) }, 'cannot look for outcomes right now')
      }
    }
    unlisten()
    this.#watching = false
  }

  async #query(ids: readonly string[]): Promise<Map<string, StoredOutcome>> {
    const { rows } = await this.#options.database.query<OutcomeRow>(FIND, [plainArray(ids)])
    return new Map(rows.map((row) => [row.id, storedOutcome(row)]))
  }
}
