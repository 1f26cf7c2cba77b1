// Keeps the tables from growing for ever: outcomes by the hour, claims in small batches. Nothing unfinished is ever removed.
import { TwofoldError } from '../../errors.ts'
import type { Database, Transaction } from '../../ports/database.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Service } from '../../runtime/service.ts'
import { lowestIdAt } from './command-ids.ts'
import { unclaimDefault, unclaimTable } from './outcome-claims.ts'
import {
  drop,
  HOUR_MS,
  hoursAhead,
  makeTable,
  oldTables,
  RETENTION_HOURS_MIN,
  sweep,
  sweepDefault,
  type RetentionHours,
} from './outcome-tables.ts'

export interface HousekeepingOptions {
  readonly database: Database
  readonly log: Logger
  readonly crash?: CrashPoints | undefined
  /** The database's time, in milliseconds since 1970. */
  readonly now: () => number
  /** How long outcomes, and with them the claims of their Idempotency-Keys, are kept at least, counted from when the command finished. */
  readonly retentionHours: RetentionHours
}

/** Commands below these ids are not run any more: of each service, and of all that are not named. */
interface LowestRunnable {
  readonly services: readonly string[]
  readonly ids: readonly string[]
  readonly id: string
}

type TableChange = (transaction: Transaction) => Promise<void>

const EVERY_MS = 600_000

/** A table change that was refused its lock comes again after seconds. Ten in a row: something keeps the table for long, a backup perhaps. */
const AGAIN = { minMs: 2000, maxMs: 10_000 }
const TRIES_MAX = 10

const CLAIMS_PER_DELETE = 1000

/** While some services keep theirs longer, most old claims are kept: to look at all of them costs more, and is done so often. */
const CLAIMS_EVERY_MS = 3_600_000

/** Any number will do that no one else uses; whoever has it does the round for all. */
const LOCK = 7_306_917_002

export class Housekeeping implements Service {
  readonly #options: HousekeepingOptions
  readonly #stopping = new AbortController()
  #loop: Promise<void> | undefined
  #claimsDoneAt = -Infinity

  constructor(options: HousekeepingOptions) {
    this.#options = options
  }

  /** Tables are made before anybody needs them; to remove what is old may take long, and a start does not wait for it. */
  async start(): Promise<void> {
    await this.#makeTables(1)
    this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
  }

  /** One round. Of several instances that are at it one makes and drops tables. */
  async round(): Promise<void> {
    await this.#makeTables(TRIES_MAX)
    await this.#removeOutcomes()
    await this.#removeClaims()
    await this.#options.crash?.reach('housekeeping.deleted')
    await this.#options.database.query('delete from twofold._attempt a where exists (select from twofold._outcome o where o.id = a.id)')
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.round().catch((error: unknown) => this.#options.log.warn({ reason: String(error) }, 'housekeeping will try again'))
      await pause(EVERY_MS, this.#stopping.signal)
    }
  }

  #makeTables(triesMax: number): Promise<void> {
    const changes = hoursAhead(this.#hour).map((hour) => (transaction: Transaction) => makeTable(transaction, hour))
    return this.#change(changes, triesMax)
  }

  get #hour(): number {
    return Math.floor(this.#options.now() / HOUR_MS)
  }

  async #removeOutcomes(): Promise<void> {
    const { database, retentionHours } = this.#options
    const hour = this.#hour
    const goesOn = (): boolean => !this.#stopping.signal.aborted
    const old = await oldTables(database, hour, retentionHours)
    for (const table of old.filter(({ wanted, swept }) => wanted.length === 0 || !swept)) await unclaimTable(database, table, hour, goesOn)
    for (const table of old) if (table.wanted.length > 0 && !table.swept) await sweep(database, table, hour, goesOn)
    const dropped = old.filter(({ wanted }) => wanted.length === 0)
    const changes = dropped.map((table) => async (transaction: Transaction) => {
      await drop(transaction, table, hour)
      await this.#options.crash?.reach('housekeeping.dropped')
    })
    await this.#change(changes, TRIES_MAX)
    await unclaimDefault(database, hour, retentionHours, goesOn)
    await sweepDefault(database, hour, retentionHours, goesOn)
  }

  /** Changes tables, each in a transaction of its own, so that nobody waits for more than one. Behind a refused one the others wait too. */
  async #change(changes: readonly TableChange[], triesMax: number): Promise<void> {
    let done = 0
    for (let attempt = 1; attempt <= triesMax && !this.#stopping.signal.aborted; attempt += 1) {
      if (attempt > 1) await pause(backoffMs(attempt - 1, AGAIN), this.#stopping.signal)
      for (let change = changes[done]; change !== undefined && (await this.#alone(change)); change = changes[done]) done += 1
      if (done === changes.length) return
    }
  }

  /** Table changes wait 50 ms for a lock at most: whoever waits behind them waits as long. False: it was refused. */
  async #alone(change: TableChange): Promise<boolean> {
    try {
      await this.#options.database.transaction(async (transaction) => {
        const { rows } = await transaction.query<{ alone: boolean }>('select pg_try_advisory_xact_lock($1) as alone', [LOCK])
        if (!rows[0]?.alone) return
        await transaction.query(`set local lock_timeout = '50ms'`)
        await change(transaction)
      })
      return true
    } catch (error) {
      if (!(error instanceof TwofoldError && error.code === 'UNAVAILABLE')) throw error
      this.#options.log.debug({ reason: error.message }, 'a table was busy; housekeeping will try again')
      return false
    }
  }

  /**
   * A claim whose outcome is removed has gone before it (`./outcome-claims.ts`). Any other goes when its command neither has an outcome nor waits, and is too old to be run from wherever else it may be. So it stays as long as
   * its outcome does, and to know when a service wants that is the business of the outcomes alone. And it stays while its command may wait at a
   * broker, which cannot be asked for it. None is run that is older than outcomes are kept, less an hour; in that hour whatever is being run comes to
   * its end. The age is that of the command, by its id: that is what an owner looks at.
   */
  async #removeClaims(): Promise<void> {
    const longer = [...this.#options.retentionHours.values()].some((hours) => hours > RETENTION_HOURS_MIN)
    if (longer && this.#options.now() < this.#claimsDoneAt + CLAIMS_EVERY_MS) return
    let last: { at: string; hash: string } | undefined = { at: '-infinity', hash: '' }
    const tooOld = this.#lowestRunnable()
    while (last !== undefined && !this.#stopping.signal.aborted) last = await this.#removeClaimsAfter(last, tooOld)
    this.#claimsDoneAt = this.#options.now()
  }

  /** Looks at the next claims and tells the last of them; undefined: there are no more. */
  async #removeClaimsAfter(
    { at, hash }: { at: string; hash: string },
    { services, ids, id }: LowestRunnable,
  ): Promise<{ at: string; hash: string } | undefined> {
    const { rows } = await this.#options.database.query<{ at: string; hash: string }>(
      `with looked as materialized (
          select at, hash, command_id, service from twofold._claim
            where at < clock_timestamp() - ${RETENTION_HOURS_MIN + 2} * interval '1 hour' and at >= $1::timestamptz and (at, hash) > ($1::timestamptz, $2)
            order by at, hash limit ${CLAIMS_PER_DELETE}),
        gone as (
          delete from twofold._claim c using looked l where c.hash = l.hash
            and l.command_id < coalesce((select r.id from unnest($3::text[], $4::uuid[]) r(service, id) where r.service = l.service), $5::uuid)
            and not exists (select 1 from twofold._outcome o where o.id = l.command_id)
            and not exists (select 1 from twofold._parked p where p.id = l.command_id)
            and not exists (select 1 from twofold._command w where w.first_id <= l.command_id and w.last_id >= l.command_id))
        select at::text, hash from looked order by looked.at desc, hash desc limit 1`,
      [at, hash, services, ids, id],
    )
    return rows[0]
  }

  #lowestRunnable(): LowestRunnable {
    const { retentionHours, now } = this.#options
    const lowest = (hours: number): string => lowestIdAt(now() - hours * HOUR_MS)
    return { services: [...retentionHours.keys()], ids: [...retentionHours.values()].map(lowest), id: lowest(RETENTION_HOURS_MIN) }
  }
}
