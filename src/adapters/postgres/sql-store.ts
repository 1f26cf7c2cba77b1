// The door of SQL handlers to PostgreSQL. A command costs two round trips beside the handler's own: one begins, locks its keys and looks
// whether it has run before; the other stores outcome, events and consumption and commits.
import pg from 'pg'
import type { Transaction } from '../../ports/database.ts'
import { BatchAborted, type EffectBatch } from '../../ports/effect-store.ts'
import type { SqlSession, SqlStart, SqlStore, SqlTrouble, Standing } from '../../ports/sql-store.ts'
import type { CrashPoint, CrashPoints } from '../../runtime/crash-points.ts'
import { textArray } from './array-literal.ts'
import { CLAIM_COLUMNS, storedClaim, type ClaimRow } from './claim-rows.ts'
import { commitStatement } from './commit-statement.ts'
import { connectionSettings } from './database.ts'
import { end, guarded } from './guarded-query.ts'
import { SqlHandlerTransaction } from './handler-transaction.ts'
import { lockHolderName } from './lock-holders.ts'
import { OUTCOME_COLUMNS, storedOutcome, type OutcomeRow } from './outcome-rows.ts'
import { isDataError, sqlState } from './pg-errors.ts'
import { Refusal, RoundTrips, type NamedStatement } from './round-trip.ts'
import { sent } from './sent.ts'
import { singleCommit } from './single-commit.ts'
import { StatementNames } from './statement-names.ts'

export interface SqlStoreOptions {
  readonly url: string
  /** Whose locks these are, for whoever takes over from it. */
  readonly instanceId: string
  readonly leaseMs: number
  /** How long one statement of a handler may take. */
  readonly statementMs: number
  /** Called after every commit, with what others may be waiting for. */
  readonly onCommitted: (batch: EffectBatch) => void
  readonly crash?: CrashPoints | undefined
}

// Said out loud: a default of the database or the role must not decide how handlers see each other.
const BEGIN = { name: 'twofold_sql_begin', text: 'begin isolation level read committed' }

const COMMIT = { name: 'twofold_sql_commit', text: 'commit' }

const ROLLBACK = { name: 'twofold_sql_rollback', text: 'rollback' }

// The keys are locked in one order, by everybody: an owner of a key and somebody else's command that names it too never run at once.
const LOCK = {
  name: 'twofold_sql_lock',
  text: 'select count(pg_advisory_xact_lock(hash)) from (select hashtextextended(key, 0) as hash from unnest($1::text[]) key order by 1) sorted',
}

// What is read beside the locks was seen before they were had; where that is too old, the outcome's primary key says so at the end.
const START = {
  name: 'twofold_sql_start',
  text: `with locked as materialized (${LOCK.text})
  select ${OUTCOME_COLUMNS}, exists (select 1 from twofold._parked where _parked.id = $2::uuid) as parked
    from locked left join twofold._outcome on id = $2::uuid`,
}

const CLAIM = { name: 'twofold_sql_claim', text: `select ${CLAIM_COLUMNS} from twofold._claim where hash = $1` }

const LOOK = {
  name: 'twofold_sql_look',
  text: `select coalesce((select seq from twofold._event where partition = $1 order by seq desc limit 1), 0) as "lastEvent",
  exists (select 1 from twofold._command where seq = $2::bigint) as "rowWaits"`,
}

const CUT = `select pg_terminate_backend(pid, 1000) from pg_stat_activity where pid = $1 and application_name = $2`

export class PostgresSqlStore implements SqlStore {
  readonly #options: SqlStoreOptions

  constructor(options: SqlStoreOptions) {
    this.#options = options
  }

  async open(): Promise<SqlSession> {
    const { statementMs } = this.#options
    const client = await this.#connect({ pipeline: true, statement_timeout: statementMs, query_timeout: statementMs + ANSWER_MS })
    const { processID } = client as pg.Client & { readonly processID: number | null }
    return new PostgresSqlSession(client, () => this.#terminate(processID), this.#options)
  }

  /** By another connection: what is under way on the session's own cannot be interrupted from there. */
  async #terminate(pid: number | null): Promise<void> {
    const client = await this.#connect({})
    try {
      await client.query(CUT, [pid, lockHolderName(this.#options.instanceId)])
    } finally {
      await end(client)
    }
  }

  async #connect(settings: pg.ClientConfig): Promise<pg.Client> {
    const { url, instanceId, leaseMs } = this.#options
    const client = new pg.Client({ ...connectionSettings(url, lockHolderName(instanceId), { leaseMs }), ...settings })
    client.on('error', () => undefined)
    await guarded(() => client.connect())
    return client
  }
}

/** How much longer than the statement its answer may take. */
const ANSWER_MS = 5000

class PostgresSqlSession implements SqlSession {
  readonly #client: pg.Client
  readonly #trips: RoundTrips
  readonly #names = new StatementNames()
  readonly #terminate: () => Promise<void>
  readonly #onCommitted: SqlStoreOptions['onCommitted']
  readonly #crash: CrashPoints | undefined
  #handler: SqlHandlerTransaction | undefined
  /** What the server or the socket said last, when it ended the connection. */
  #broken: Error | undefined

  constructor(client: pg.Client, terminate: () => Promise<void>, { onCommitted, crash }: SqlStoreOptions) {
    this.#client = client
    this.#trips = new RoundTrips(client)
    this.#terminate = terminate
    this.#onCommitted = onCommitted
    this.#crash = crash
    client.on('error', (error) => (this.#broken ??= error))
    client.on('end', () => (this.#broken ??= new Error('the connection was ended')))
  }

  get usable(): boolean {
    return this.#broken === undefined
  }

  get transaction(): Transaction {
    return (this.#handler ??= new SqlHandlerTransaction(this.#client, this.#names))
  }

  get trouble(): SqlTrouble | undefined {
    const broken = this.#broken ?? this.#handler?.broken
    if (broken !== undefined) return sqlState(broken) === '25P03' ? 'idle' : 'lost'
    return this.#handler?.again === true ? 'again' : undefined
  }

  async begin({ commandId, service, keys, look, claimHash }: SqlStart): Promise<Standing> {
    const named = textArray([...new Set(keys)].map((key) => `${service} ${key}`))
    const start = look ? { ...START, values: [named, commandId] } : { ...LOCK, values: [named] }
    const claims = claimHash === undefined ? [] : [{ ...CLAIM, values: [claimHash] }]
    const [, started, claimed] = await this.#ask([BEGIN, start, ...claims])
    await this.#reach('sql.begun')
    const [claim] = (claimed?.rows ?? []) as ClaimRow[]
    const found = look ? standingOf(started) : { outcome: undefined, parked: false }
    return { ...found, claim: claim && storedClaim(claim) }
  }

  async commit(batch: EffectBatch): Promise<void> {
    this.#over()
    await this.#reach('sql.handled')
    // Where the first is refused the second is not run.
    const message = this.#trips.send([statementOf(batch), COMMIT])
    const answer = await guarded(() => sent(message, this.#client, 'sql.commit-sent', this.#crash))
    try {
      await this.#answersOf(answer)
    } catch (error) {
      throw answer instanceof Refusal && answer.done > 0 ? ofCommit(error) : error
    }
    await this.#reach('sql.committed')
    this.#onCommitted(batch)
  }

  async commitWithout(batch: EffectBatch): Promise<void> {
    this.#over()
    await this.#ask([ROLLBACK, statementOf(batch)])
    this.#onCommitted(batch)
  }

  async rollback(): Promise<void> {
    this.#over()
    if (this.usable) await this.#ask([ROLLBACK]).catch((error: Error) => (this.#broken ??= error))
  }

  async look(partition: number, row: string | undefined): Promise<{ lastEvent: number; rowWaits: boolean }> {
    type Found = { readonly lastEvent: string; readonly rowWaits: boolean }
    const [answer] = await this.#ask([{ ...LOOK, values: [String(partition), row ?? null] }])
    const found = answer?.rows[0] as Found | undefined
    return { lastEvent: Number(found?.lastEvent ?? 0), rowWaits: found?.rowWaits === true }
  }

  async cut(): Promise<void> {
    this.#over()
    this.#broken ??= new Error('the transaction was cut')
    await this.#terminate().catch(() => undefined)
    await end(this.#client)
  }

  close(): Promise<void> {
    this.#over()
    return end(this.#client)
  }

  /** What fails there fails like the connection. */
  async #reach(point: CrashPoint): Promise<void> {
    const crash = this.#crash
    if (crash) await guarded(async () => crash.reach(point))
  }

  #over(): void {
    this.#handler?.end()
    this.#handler = undefined
  }

  /** The answers of all, in one round trip. */
  async #ask(statements: readonly NamedStatement[]): Promise<readonly pg.QueryResult[]> {
    return this.#answersOf(await this.#trips.send(statements))
  }

  #answersOf(answer: readonly pg.QueryResult[] | Refusal): Promise<readonly pg.QueryResult[]> {
    return guarded(async () => {
      if (answer instanceof Refusal) throw this.#refusal(answer.error)
      return answer
    })
  }

  #refusal(error: unknown): unknown {
    const state = sqlState(error)
    if (state === undefined || state.startsWith('57P')) this.#broken ??= error as Error
    if (state !== '25P02') return error
    return new BatchAborted(
      'data',
      'a statement of the handler had failed, so PostgreSQL has rolled back all of its transaction: let the error out of the handler, or use a savepoint',
      error,
    )
  }
}

/** As a rule a command stores one row of each kind. */
function statementOf(batch: EffectBatch): NamedStatement {
  return singleCommit(batch) ?? commitStatement(batch)
}

function standingOf(started: pg.QueryResult | undefined): Omit<Standing, 'claim'> {
  const [row] = (started?.rows ?? []) as (OutcomeRow & { readonly parked: boolean })[]
  if (row === undefined) throw new BatchAborted('lost', 'the start of a transaction was answered without a row')
  const { parked, ...outcome } = row
  return { outcome: isThere(outcome) ? storedOutcome(outcome) : undefined, parked }
}

/** An outer join gives a row of NULLs where there is none. */
function isThere(outcome: { readonly id: string | null }): boolean {
  return outcome.id !== null
}

/** Once all of ours is stored, what a COMMIT is refused for is a deferred constraint of the handler's own tables. */
function ofCommit(error: unknown): unknown {
  const isTheirs = error instanceof BatchAborted && isDataError(error.cause)
  return isTheirs ? new BatchAborted('data', error.message, error.cause) : error
}
