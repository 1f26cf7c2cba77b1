// Keeps the tables from growing for ever: outcomes by the hour, claims in small batches. Nothing unfinished is ever removed.
import { TwofoldError } from '../../errors.ts'
import type { Database, Transaction } from '../../ports/database.ts'
import { pause } from '../../runtime/backoff.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Service } from '../../runtime/service.ts'
import { lowestIdAt } from './command-ids.ts'

export interface HousekeepingOptions {
  readonly database: Database
  readonly log: Logger
  readonly crash?: CrashPoints | undefined
  /** The database's time, in milliseconds since 1970. */
  readonly now: () => number
  /** How long outcomes and claims are kept at least, counted from when the command finished. Default 24 hours; at least that. */
  readonly retentionHours?: number
}

const HOUR_MS = 3_600_000
const EVERY_MS = 600_000

/** Outcome partitions are made so far ahead; beyond it the default partition would take rows in. */
const AHEAD_HOURS = 3

const CLAIMS_PER_DELETE = 1000
const DELETES_MAX = 100

/** Any number will do that no one else uses; whoever has it does the round for all. */
const LOCK = 7_306_917_002

export class Housekeeping implements Service {
  readonly #options: HousekeepingOptions
  readonly #stopping = new AbortController()
  #loop: Promise<void> | undefined

  constructor(options: HousekeepingOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    await this.round()
    this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
  }

  /** One round, unless another instance is at it. */
  async round(): Promise<void> {
    const hour = Math.floor(this.#options.now() / HOUR_MS)
    await this.#alone((transaction) => makePartitions(transaction, hour))
    await this.#alone((transaction) => this.#dropPartitions(transaction, hour))
    await this.#dropClaims()
    await this.#options.crash?.reach('housekeeping.deleted')
    await this.#options.database.query('delete from twofold._attempt a where exists (select from twofold._outcome o where o.id = a.id)')
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await pause(EVERY_MS, this.#stopping.signal)
      if (this.#stopping.signal.aborted) return
      await this.round().catch((error: unknown) => this.#options.log.warn({ reason: String(error) }, 'housekeeping will try again'))
    }
  }

  /** Table changes wait 50 ms for their lock at most: whoever waits behind them waits as long. A refusal is tried again next round. */
  async #alone(work: (transaction: Transaction) => Promise<void>): Promise<void> {
    await this.#options.database
      .transaction(async (transaction) => {
        const { rows } = await transaction.query<{ alone: boolean }>('select pg_try_advisory_xact_lock($1) as alone', [LOCK])
        if (!rows[0]?.alone) return
        await transaction.query(`set local lock_timeout = '50ms'`)
        await work(transaction)
      })
      .catch((error: unknown) => {
        if (!(error instanceof TwofoldError && error.code === 'UNAVAILABLE')) throw error
        this.#options.log.debug({ reason: error.message }, 'a table was busy; housekeeping will try again')
      })
  }

  async #dropPartitions(transaction: Transaction, hour: number): Promise<void> {
    const oldest = hour - Math.max(24, this.#options.retentionHours ?? 24) - 1
    const { rows } = await transaction.query<{ name: string }>(
      `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'twofold._outcome'::regclass and c.relname ~ '^_outcome_[0-9]+$'`,
    )
    // The hour is that of the command's id. One that waited long finished long after: its outcome is young, and keeps its table.
    const finishedBefore = new Date(oldest * HOUR_MS + HOUR_MS)
    for (const { name } of rows.filter((row) => Number(row.name.slice('_outcome_'.length)) < oldest)) {
      const young = await transaction.query(`select 1 from twofold.${name} where finished_at >= $1 limit 1`, [finishedBefore])
      if (young.rowCount === 0) await transaction.query(`drop table twofold.${name}`)
    }
    await transaction.query('delete from twofold._outcome_default where id < $1 and finished_at < $2', [
      lowestIdAt(oldest * HOUR_MS),
      finishedBefore,
    ])
    await this.#options.crash?.reach('housekeeping.dropped')
  }

  /** A claim goes when it is old and its command neither has an outcome nor waits. */
  async #dropClaims(): Promise<void> {
    const hours = Math.max(24, this.#options.retentionHours ?? 24)
    for (let round = 0; round < DELETES_MAX && !this.#stopping.signal.aborted; round += 1) {
      const { rowCount } = await this.#options.database.query(
        `delete from twofold._claim where hash in (
          select hash from twofold._claim c where at < clock_timestamp() - ($1 + 2) * interval '1 hour'
            and not exists (select 1 from twofold._outcome o where o.id = c.command_id)
            and not exists (select 1 from twofold._parked p where p.id = c.command_id)
            and not exists (select 1 from twofold._command w where w.first_id <= c.command_id and w.last_id >= c.command_id)
          order by at limit ${CLAIMS_PER_DELETE})`,
        [hours],
      )
      if ((rowCount ?? 0) < CLAIMS_PER_DELETE) return
    }
  }
}

/** Partition names carry the hour since 1970, bounds are the lowest ids of that hour and the next. */
async function makePartitions(transaction: Transaction, hour: number): Promise<void> {
  for (let each = hour - 1; each <= hour + AHEAD_HOURS; each += 1) {
    const [from, to] = [lowestIdAt(each * HOUR_MS), lowestIdAt((each + 1) * HOUR_MS)]
    // Where the default partition has taken rows of that hour, the hour stays there: a partition for it would be refused.
    const { rows } = await transaction.query<{ settled: boolean }>(
      `select to_regclass('twofold._outcome_${each}') is not null
         or exists (select 1 from twofold._outcome_default where id >= '${from}' and id < '${to}') as settled`,
    )
    if (!rows[0]?.settled)
      await transaction.query(
        `create table twofold._outcome_${each} partition of twofold._outcome for values from ('${from}') to ('${to}')`,
      )
  }
}
