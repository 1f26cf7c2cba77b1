// One connection of SQL handlers. A command costs one round trip beside the handler's own: its transaction begins, and locks its keys, with the
// first statement of the handler; the last message stores outcome, events and consumption and commits.
import type pg from 'pg'
import type { Transaction } from '../../ports/database.ts'
import { BatchAborted, type EffectBatch } from '../../ports/effect-store.ts'
import type { SqlSession, SqlStart, SqlTrouble, Standing } from '../../ports/sql-store.ts'
import type { CrashPoint, CrashPoints } from '../../runtime/crash-points.ts'
import { textArray } from './array-literal.ts'
import { CLAIM_COLUMNS, storedClaim, type ClaimRow } from './claim-rows.ts'
import { commitStatement } from './commit-statement.ts'
import { abortedBy, end, guarded } from './guarded-query.ts'
import { SqlHandlerTransaction } from './handler-transaction.ts'
import { Opening } from './opening.ts'
import { OUTCOME_COLUMNS, storedOutcome, type OutcomeRow } from './outcome-rows.ts'
import { isDataError, sqlState } from './pg-errors.ts'
import { Refusal, RoundTrips, type Answers, type Statement } from './round-trip.ts'
import { sent } from './sent.ts'
import { singleCommit } from './single-commit.ts'
import { StatementNames } from './statement-names.ts'

// Said out loud: a default of the database or the role must not decide how handlers see each other.
const BEGIN: Statement = { name: 'twofold_sql_begin', text: 'begin isolation level read committed', rows: false }

const COMMIT: Statement = { name: 'twofold_sql_commit', text: 'commit', rows: false }

const ROLLBACK: Statement = { name: 'twofold_sql_rollback', text: 'rollback', rows: false }

// The keys are locked in one order, by everybody: an owner of a key and somebody else's command that names it too never run at once.
const LOCK = {
  name: 'twofold_sql_lock',
  text: 'select count(pg_advisory_xact_lock(hash)) from (select hashtextextended(key, 0) as hash from unnest($1::text[]) key order by 1) sorted',
} satisfies Statement

// Most commands have one key, and to set up an array and a sort costs more than the lock.
const LOCK_ONE = { name: 'twofold_sql_lock_one', text: 'select pg_advisory_xact_lock(hashtextextended($1, 0))' } satisfies Statement

// What is read beside the locks was seen before they were had; where that is too old, the outcome's primary key says so at the end.
const START = {
  name: 'twofold_sql_start',
  text: `with locked as materialized (${LOCK.text})
  select ${OUTCOME_COLUMNS}, exists (select 1 from twofold._parked where _parked.id = $2::uuid) as parked,
      (select attempts from twofold._parked where seq = $3::bigint) as attempts
    from locked left join twofold._outcome on id = $2::uuid`,
} satisfies Statement

interface StartRow {
  readonly parked: boolean
  readonly attempts: number | null
}

const CLAIM = { name: 'twofold_sql_claim', text: `select ${CLAIM_COLUMNS} from twofold._claim where hash = $1` } satisfies Statement

const LOOK = {
  name: 'twofold_sql_look',
  text: `select coalesce((select seq from twofold._event where partition = $1 order by seq desc limit 1), 0) as "lastEvent",
  exists (select 1 from twofold._command where seq = $2::bigint) as "rowWaits"`,
} satisfies Statement

// The higher number stays: a former owner that wakes up again must not undo what its successor has counted.
const BEGAN = {
  name: 'twofold_sql_began',
  text: `insert into twofold._attempt as a (id, count) values ($1, $2)
  on conflict (id) do update set count = greatest(a.count, excluded.count)`,
  rows: false,
} satisfies Statement

/** So many statements may be prepared on a connection: names that handlers make anew each time would fill the server's memory. */
const PREPARED_MAX = 1000

export interface SqlSessionOptions {
  /** Ends the backend, by another connection. */
  readonly terminate: () => Promise<void>
  /** The last round trip is waited for so long, in milliseconds: others of its partition wait for it. */
  readonly finishMs: number
  /** Called after every commit, with what others may be waiting for. */
  readonly onCommitted: (batch: EffectBatch) => void
  readonly crash: CrashPoints | undefined
}

export class PostgresSqlSession implements SqlSession {
  readonly #client: pg.Client
  readonly #options: SqlSessionOptions
  readonly #trips: RoundTrips
  readonly #names = new StatementNames()
  #opening: Opening
  #handler: SqlHandlerTransaction | undefined
  /** A handler has left something on the connection that is not for the next one. */
  #isSpent = false
  /** What the server or the socket said last, when it ended the connection. */
  #broken: Error | undefined
  #ending: Promise<void> | undefined

  /** `client`: a connected one with `pipeline`. */
  constructor(client: pg.Client, options: SqlSessionOptions) {
    this.#client = client
    this.#options = options
    this.#trips = new RoundTrips(client)
    this.#opening = new Opening(this.#trips)
    client.on('error', (error) => (this.#broken ??= error))
    client.on('end', () => (this.#broken ??= new Error('the connection was ended')))
  }

  get usable(): boolean {
    return this.#broken === undefined && !this.#isSpent && this.#handler?.hasEnded !== true
  }

  get transaction(): Transaction {
    return (this.#handler ??= new SqlHandlerTransaction(this.#opening, { trips: this.#trips, names: this.#names }))
  }

  get hasBegun(): boolean {
    return this.#opening.hasBegun
  }

  get waitsForKeys(): boolean {
    const { isSaid, hasBegun, refusal } = this.#opening
    return isSaid && !hasBegun && refusal === undefined
  }

  get trouble(): SqlTrouble | undefined {
    if (this.#handler?.hasEnded === true) return 'ended'
    const broken = this.#broken ?? this.#handler?.broken
    if (broken !== undefined) return sqlState(broken) === '25P03' ? 'idle' : 'lost'
    return this.#handler?.again === true ? 'again' : undefined
  }

  asksAgain(error: unknown): boolean {
    return this.#handler?.asksAgain(error) === true
  }

  async began(commandId: string, count: number): Promise<void> {
    this.#answersOf(await this.#trips.send([{ ...BEGAN, values: [commandId, String(count)] }]))
    await this.#reach('left-behind.begun')
  }

  async begin({ commandId, service, keys, claimHash, parkedSeq }: SqlStart): Promise<Standing> {
    const start = { ...START, values: [textArray(namesOf(service, keys)), commandId, parkedSeq ?? null] }
    const claims = claimHash === undefined ? [] : [{ ...CLAIM, values: [claimHash] }]
    this.#opening = this.#openingBy(BEGIN)
    const [started, claimed] = this.#answersOf(await this.#opening.send([start, ...claims]))
    const [row] = (started?.rows ?? []) as (OutcomeRow & StartRow)[]
    if (row === undefined) throw new BatchAborted('lost', 'the start of a transaction was answered without a row')
    const { parked, attempts, ...outcome } = row
    const [claim] = (claimed?.rows ?? []) as ClaimRow[]
    const known = isThere(outcome) ? storedOutcome(outcome) : undefined
    return { outcome: known, parked, attempts: attempts ?? undefined, claim: claim && storedClaim(claim) }
  }

  beginLater({ service, keys }: Pick<SqlStart, 'service' | 'keys'>): void {
    this.#opening = this.#openingBy(BEGIN, lockOf(namesOf(service, keys)))
  }

  mustNotBeRefused(): void {
    const { refusal } = this.#opening
    if (refusal !== undefined) throw abortedBy(this.#refusal(refusal.error))
  }

  async commit(batch: EffectBatch): Promise<void> {
    this.#over()
    const { crash } = this.#options
    if (crash) await this.#reach('sql.handled')
    // Where the first is refused the second is not run.
    const message = this.#opening.send([statementOf(batch), COMMIT])
    const answer = await guarded(() => sent(this.#bounded(message), this.#client, 'sql.commit-sent', crash))
    try {
      this.#answersOf(answer)
    } catch (error) {
      throw answer instanceof Refusal ? ofHandler(error, answer.done > 0) : error
    }
    if (crash) await this.#reach('sql.committed')
    this.#options.onCommitted(batch)
  }

  async commitWithout(batch: EffectBatch): Promise<void> {
    this.#over()
    await this.#bounded(this.#opening.settled())
    this.mustNotBeRefused()
    const statements = this.#opening.isSaid ? [ROLLBACK, statementOf(batch)] : [statementOf(batch)]
    this.#answersOf(await this.#bounded(this.#trips.send(statements)))
    this.#options.onCommitted(batch)
  }

  async rollback(): Promise<void> {
    this.#over()
    const opening = this.#opening
    this.#opening = new Opening(this.#trips)
    if (opening.isSaid) await this.#bounded(opening.settled())
    if (!opening.isSaid || this.#broken !== undefined) return
    const answer = await this.#bounded(this.#trips.send([ROLLBACK]))
    if (answer instanceof Refusal) this.#broken ??= answer.error as Error
  }

  async look(partition: number, row: string | undefined): Promise<{ lastEvent: number; rowWaits: boolean }> {
    type Found = { readonly lastEvent: string; readonly rowWaits: boolean }
    const statement = { ...LOOK, values: [String(partition), row ?? null] }
    const [answer] = this.#answersOf(await this.#bounded(this.#opening.send([statement])))
    const found = answer?.rows[0] as Found | undefined
    return { lastEvent: Number(found?.lastEvent ?? 0), rowWaits: found?.rowWaits === true }
  }

  async cut(): Promise<void> {
    this.#over()
    this.#broken ??= new Error('the transaction was cut')
    await this.#options.terminate().catch(() => undefined)
    await end(this.#client)
  }

  async close(): Promise<void> {
    this.#over()
    await this.#ending
    await end(this.#client)
  }

  /**
   * The answer to a message that others wait for. A connection that stays silent for too long is ended; what became of the message is looked up
   * by whoever runs the command again.
   */
  async #bounded<Answer>(message: Promise<Answer>): Promise<Answer> {
    const timer = setTimeout(() => {
      this.#broken ??= new Error(`no answer within ${this.#options.finishMs} ms, a third of the lease`)
      // What was sent may still be under way at the server: its end frees the locks that the next run waits for.
      this.#ending = this.#options.terminate().catch(() => undefined)
      this.#client.connection.stream.destroy()
    }, this.#options.finishMs)
    try {
      return await message
    } finally {
      clearTimeout(timer)
    }
  }

  #openingBy(...beginning: readonly Statement[]): Opening {
    return new Opening(this.#trips, beginning, this.#options.crash && (() => this.#reach('sql.begun')))
  }

  /** What fails there fails like the connection. */
  async #reach(point: CrashPoint): Promise<void> {
    const { crash } = this.#options
    if (crash) await guarded(async () => crash.reach(point))
  }

  /** The handler has ended. */
  #over(): void {
    if (this.#handler === undefined) return
    this.#handler.end()
    this.#isSpent ||= this.#handler.leavesTraces || this.#handler.hasEnded || this.#trips.preparedCount > PREPARED_MAX
    this.#handler = undefined
  }

  #answersOf(answer: Answers): readonly pg.QueryResult[] {
    if (answer instanceof Refusal) throw abortedBy(this.#refusal(answer.error))
    return answer
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

function namesOf(service: string, keys: readonly string[]): readonly string[] {
  return [...new Set(keys)].map((key) => `${service} ${key}`)
}

function lockOf(names: readonly string[]): Statement {
  const [name, ...others] = names
  return others.length === 0 ? { ...LOCK_ONE, values: [name], rows: false } : { ...LOCK, values: [textArray(names)], rows: false }
}

/** As a rule a command stores one row of each kind. */
function statementOf(batch: EffectBatch): Statement {
  return { ...(singleCommit(batch) ?? commitStatement(batch, batch.unreadAbove)), rows: false }
}

/** An outer join gives a row of NULLs where there is none. */
function isThere(outcome: { readonly id: string | null }): boolean {
  return outcome.id !== null
}

/**
 * SQLSTATEs of the connection, the server and others: lost connections, serialization and deadlocks, resources, shutdown, time-outs, internal
 * errors; what was prepared and is gone; a lock that was not to be had; and our own.
 */
const NOT_OF_HANDLER = /^(?:08|26|40|53|57|58|XX|25P03|25P04|55P03|TF)/

/**
 * Once all of ours is stored (`isStored`), what a COMMIT is refused for is the handler's own: a deferred constraint of its tables, or a trigger.
 * Before that so is what cannot be stored as it has left the transaction, read-only or as a role without rights.
 */
function ofHandler(error: unknown, isStored: boolean): unknown {
  const cause = error instanceof BatchAborted ? error.cause : undefined
  const state = sqlState(cause)
  if (state === undefined || NOT_OF_HANDLER.test(state) || (!isStored && isDataError(cause))) return error
  return new BatchAborted('data', (error as Error).message, cause)
}
