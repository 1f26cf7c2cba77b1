// Outcomes, for those who wait. What this process's own engine commits they are told at once; for what others commit, one query looks for
// all who are due: at a ring, and after growing pauses in between.
import { madeAt } from '../../ports/command-ids.ts'
import type { StoredAnswer, StoredClaim } from '../../ports/command-log.ts'
import type { Database } from '../../ports/database.ts'
import type { Outcomes, PendingCommand, StoredOutcome } from '../../ports/outcomes.ts'
import type { Logger } from '../../runtime/logger.ts'
import { pause } from '../../runtime/backoff.ts'
import { Wake } from '../../runtime/wake.ts'
import { plainArray } from './array-literal.ts'
import { CLAIMS_BY_HASH, storedClaim, type ClaimRow } from './claim-rows.ts'
import { lowestIdAt } from './command-ids.ts'
import { GatheredLookups } from './gathered-lookups.ts'
import { OUTCOME_COLUMNS, storedOutcome, type OutcomeRow } from './outcome-rows.ts'

export interface OutcomesOptions {
  readonly database: Database
  readonly signals: { listen(channel: 'outcome', wake: () => void): () => void }
  readonly log: Logger
  /** Whether an engine of this very process has the command in a batch right now. */
  readonly inHand?: ((commandId: string) => boolean) | undefined
  /** Whether a broker may still have the command; left out: none carries any. */
  readonly isCarried?: ((commandId: string) => boolean) | undefined
}

interface Waiter {
  readonly id: string
  readonly settle: (outcome: StoredOutcome | undefined, error?: Error) => void
  /** When it is looked for next without a ring, on the clock of `performance.now()`, and the pause after that. */
  lookAt: number
  pauseMs: number
}

/** Outcomes of this process's own engine that are answered without asking the database. */
const RECENT_MAX = 2000

const POLL_MS_MIN = 25
const POLL_MS_MAX = 1000

/** A look that took so long is followed by a pause of twice its length, whoever rings: many who wait must not keep the database busy. */
const REST = 2

/** The longest a command may travel between getting its id and being appended: the longest wait of a caller, generously. */
const TRAVEL_MS = 300_000

const FIND = `select ${OUTCOME_COLUMNS} from twofold._outcome where id = any($1::uuid[])`

/**
 * Ids rise with time, so a row whose span covers the id was appended around then. From the id downwards the right row comes among the
 * first; of an id that is in none, the entries of the time it may have travelled are read, but no row of them: both ends of the span are
 * in the index. With a million waiting rows of one command each that took 0.2 ms, and 100 ms for an unknown id.
 */
const QUEUED = `select 1 from twofold._command
  where first_id <= $1 and first_id > $2 and last_id >= $1 and position($1::text in body) > 0 order by first_id desc limit 1`

// In one statement, and so at one moment: a command that goes from the log to the parked ones is in one of the two.
export const PENDING = `select parked.attempts, case when parked.attempts is null then (${QUEUED}) end as queued
  from (values ($1::uuid)) asked(id) left join twofold._parked parked on parked.id = asked.id`

const ANSWERED = `update twofold._claim set answer = $3
  where hash = $1 and command_id = $2 and answer is null and not exists (select from twofold._outcome where id = $2)`

interface PendingRow {
  readonly attempts: number | null
  readonly queued: number | null
}

export class PostgresOutcomes implements Outcomes {
  readonly #options: OutcomesOptions
  readonly #claims = new GatheredLookups((hashes) => this.#queryClaims(hashes))
  readonly #stored = new GatheredLookups(async (ids) => new Map((await this.#query(ids)).map((outcome) => [outcome.id, outcome])))
  readonly #waiters = new Map<string, Set<Waiter>>()
  // Two generations, the younger first: dropping the elder is cheaper than dropping one outcome for each that comes.
  #recent = new Map<string, StoredOutcome>()
  #elder = new Map<string, StoredOutcome>()
  readonly #wake = new Wake()
  #watching = false

  constructor(options: OutcomesOptions) {
    this.#options = options
  }

  /** The engine of this very process has committed these: whoever waits for one of them is told at once. */
  committed(outcomes: readonly StoredOutcome[]): void {
    for (const outcome of outcomes) {
      this.#recent.set(outcome.id, outcome)
      if (this.#waiters.size > 0) this.#tell(outcome)
    }
    if (this.#recent.size < RECENT_MAX / 2) return
    this.#elder = this.#recent
    this.#recent = new Map()
  }

  find(commandId: string, timeoutMs: number, signal?: AbortSignal): Promise<StoredOutcome | undefined> {
    const recent = this.#recent.get(commandId) ?? this.#elder.get(commandId)
    if (recent) return Promise.resolve(recent)
    if (timeoutMs <= 0 || signal?.aborted) return this.#lookOnce(commandId, signal)
    return new Promise((resolve, reject) => {
      const giveUp = (): void => waiter.settle(undefined)
      const waiter: Waiter = {
        id: commandId,
        settle: (outcome, error) => {
          if (!this.#forget(waiter)) return
          clearTimeout(timer)
          signal?.removeEventListener('abort', giveUp)
          if (error === undefined) resolve(outcome)
          else reject(error)
        },
        lookAt: performance.now() + POLL_MS_MIN,
        pauseMs: POLL_MS_MIN,
      }
      const timer = setTimeout(giveUp, timeoutMs)
      signal?.addEventListener('abort', giveUp, { once: true })
      const same = this.#waiters.get(commandId)
      if (same) same.add(waiter)
      else this.#waiters.set(commandId, new Set([waiter]))
      if (!this.#watching) void this.#watch()
    })
  }

  async pending(commandId: string): Promise<PendingCommand | undefined> {
    if (this.#options.inHand?.(commandId)) return { id: commandId, status: 'running', attempts: 0 }
    const { rows } = await this.#options.database.query<PendingRow>(PENDING, [commandId, lowestIdAt(madeAt(commandId) - TRAVEL_MS)])
    const { attempts, queued } = rows[0] ?? { attempts: null, queued: null }
    if (attempts !== null) return { id: commandId, status: attempts > 0 ? 'running' : 'queued', attempts }
    return queued !== null || this.#options.isCarried?.(commandId) === true ? { id: commandId, status: 'queued', attempts: 0 } : undefined
  }

  claim(hash: string): Promise<StoredClaim | undefined> {
    return this.#claims.find(hash)
  }

  async answered(hash: string, commandId: string, answer: StoredAnswer): Promise<boolean> {
    const { rowCount } = await this.#options.database.query(ANSWERED, [hash, commandId, JSON.stringify(answer)])
    return rowCount === 1
  }

  async #lookOnce(commandId: string, signal: AbortSignal | undefined): Promise<StoredOutcome | undefined> {
    if (signal?.aborted) return undefined
    return this.#stored.find(commandId)
  }

  #tell(outcome: StoredOutcome): void {
    for (const waiter of this.#waiters.get(outcome.id) ?? []) waiter.settle(outcome)
  }

  /** False: it was settled before. */
  #forget(waiter: Waiter): boolean {
    const same = this.#waiters.get(waiter.id)
    if (!same?.delete(waiter)) return false
    if (same.size === 0) this.#waiters.delete(waiter.id)
    return true
  }

  /** Runs while somebody waits. A failing look is not the end: the waiters have their own deadlines. */
  async #watch(): Promise<void> {
    this.#watching = true
    const unlisten = this.#options.signals.listen('outcome', () => this.#wake.ring())
    let restMs = 0
    while (this.#waiters.size > 0) {
      if (restMs > 1) await pause(Math.min(restMs, POLL_MS_MAX))
      restMs = 0
      const rung = await this.#wake.sleep(POLL_MS_MIN)
      const started = performance.now()
      const due = rung ? [...this.#waiters.keys()] : this.#due(started)
      if (due.length === 0) continue
      try {
        for (const outcome of await this.#query(due)) this.#tell(outcome)
      } catch (error) {
        this.#options.log.debug({ reason: String(error) }, 'cannot look for outcomes right now')
      }
      restMs = (performance.now() - started) * REST
    }
    unlisten()
    this.#watching = false
  }

  /** The ids of those who are due, and when they are due again. */
  #due(now: number): string[] {
    const due: string[] = []
    for (const [id, waiters] of this.#waiters) {
      let isDue = false
      for (const waiter of waiters) {
        if (waiter.lookAt > now) continue
        isDue = true
        waiter.pauseMs = Math.min(POLL_MS_MAX, waiter.pauseMs * 2)
        waiter.lookAt = now + waiter.pauseMs
      }
      if (isDue) due.push(id)
    }
    return due
  }

  async #queryClaims(hashes: readonly string[]): Promise<Map<string, StoredClaim>> {
    const { rows } = await this.#options.database.query<ClaimRow>(CLAIMS_BY_HASH, [plainArray(hashes)])
    return new Map(rows.map((row) => [row.hash, storedClaim(row)]))
  }

  async #query(ids: readonly string[]): Promise<StoredOutcome[]> {
    const { rows } = await this.#options.database.query<OutcomeRow>(FIND, [plainArray(ids)])
    return rows.map(storedOutcome)
  }
}
