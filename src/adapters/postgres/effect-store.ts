// The engine's door to PostgreSQL: a session is a connection that writes and one that reads meanwhile, with the settings that their
// statements were made for.
import pg from 'pg'
import { decodeEnvelope } from '../../contract/envelope.ts'
import {
  BatchAborted,
  type EffectBatch,
  type EffectSession,
  type EffectStore,
  type LoadedEntity,
  type LogRow,
  type ParkedAt,
  type ParkedCommand,
  type Recovery,
  type TakenLog,
} from '../../ports/effect-store.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import { plainArray, textArray } from './array-literal.ts'
import { CLAIMS_BY_HASH, storedClaim, type ClaimRow } from './claim-rows.ts'
import { LogReader } from './log-reader.ts'
import { commitStatement, type CommitStatement } from './commit-statement.ts'
import { connectionSettings } from './database.ts'
import { sent } from './sent.ts'
import { loadEntities, lockEntities } from './entity-rows.ts'
import { end, guarded, run } from './guarded-query.ts'
import { lockHolderName } from './lock-holders.ts'
import { OUTCOME_COLUMNS, storedOutcome, type OutcomeRow } from './outcome-rows.ts'

export interface EffectStoreOptions {
  readonly url: string
  readonly applicationName: string
  /** Whose locks these are, for whoever takes over from it. */
  readonly instanceId: string
  readonly leaseMs: number
  /** Called after every commit, with what others may be waiting for. */
  readonly onCommitted: (batch: EffectBatch) => void
  readonly crash?: CrashPoints | undefined
}

// Joins from an array into a table must go row by row in the array's order: it is sorted, and only so do two statements that write
// the same rows lock them in the same order. Hash and merge joins would follow the table. The planner takes an array for 10 rows, so
// for real batches it would choose the nested loop anyway; these settings take the choice away.
export const SESSION_SETTINGS = ['enable_hashjoin=off', 'enable_mergejoin=off', 'enable_seqscan=off', 'plan_cache_mode=force_generic_plan']

const LOCK_FENCES = `select p.partition from unnest($1::int[], $2::bigint[]) t(partition, epoch)
  join twofold._partition p on p.partition = t.partition and p.epoch = t.epoch order by p.partition for share of p`

const OUTCOMES = `select ${OUTCOME_COLUMNS} from twofold._outcome where id = any($1::uuid[])`

// Joined and not compared with the array, so that each id is looked for in the table of its hour and not in all of them.
const ENDED = 'select o.id from unnest($1::uuid[]) asked(id) join twofold._outcome o on o.id = asked.id'

const PARKED_COLUMNS = `seq, partition, envelope, attempts, error, extract(epoch from due_at) * 1000 as "dueAt"`

const PARKED_HEADS = `select distinct on (service, key) ${PARKED_COLUMNS} from twofold._parked where partition = any($1::int[])
  order by service, key, seq`

const PARKED = `select r.* from unnest($1::int[], $2::text[], $3::text[]) with ordinality t(partition, service, key, at) cross join lateral (
    select ${PARKED_COLUMNS} from twofold._parked p
      where p.partition = t.partition and p.service = t.service and p.key = t.key order by seq limit $4) r order by t.at, r.seq`

const BEGAN = `insert into twofold._attempt as a (id, count) select distinct id, 1 from unnest($1::uuid[]) id order by id
  on conflict (id) do update set count = a.count + 1`

const TAKE_BACK = `with l as materialized (select id, count from twofold._attempt where id = any($1::uuid[]) order by id for update),
  d as (delete from twofold._attempt a using l where a.id = l.id and l.count <= 1)
  update twofold._attempt a set count = l.count - 1 from l where a.id = l.id and l.count > 1`

const STILL_HELD = `select p.partition from unnest($1::int[], $2::bigint[]) t(partition, epoch)
  join twofold._partition p on p.partition = t.partition and p.epoch = t.epoch`

export class PostgresEffectStore implements EffectStore {
  readonly #options: EffectStoreOptions

  constructor(options: EffectStoreOptions) {
    this.#options = options
  }

  async open(): Promise<EffectSession> {
    const { url, applicationName, instanceId, leaseMs } = this.#options
    const connect = async (name: string): Promise<pg.Client> => {
      const client = new pg.Client(connectionSettings(url, name, { leaseMs, settings: SESSION_SETTINGS }))
      client.on('error', () => undefined)
      await guarded(() => client.connect())
      return client
    }
    const connectLocking = (): Promise<pg.Client> => connect(lockHolderName(instanceId))
    const [writer, reader] = await Promise.allSettled([connect(applicationName), connect(applicationName)])
    if (writer.status === 'fulfilled' && reader.status === 'fulfilled')
      return new PostgresEffectSession(writer.value, reader.value, connectLocking, this.#options)
    for (const opened of [writer, reader]) if (opened.status === 'fulfilled') await end(opened.value)
    throw (writer.status === 'rejected' ? writer : (reader as PromiseRejectedResult)).reason
  }
}

class PostgresEffectSession implements EffectSession {
  readonly #client: pg.Client
  readonly #reader: pg.Client
  readonly #connectLocking: () => Promise<pg.Client>
  readonly #onCommitted: EffectStoreOptions['onCommitted']
  readonly #crash: CrashPoints | undefined
  readonly #log: LogReader
  #lockingClient: pg.Client | undefined
  #encoded: { readonly batch: EffectBatch; readonly statement: CommitStatement } | undefined

  constructor(client: pg.Client, reader: pg.Client, connectLocking: () => Promise<pg.Client>, { onCommitted, crash }: EffectStoreOptions) {
    this.#client = client
    this.#reader = reader
    this.#log = new LogReader((name, text, values) => run(reader, name, text, values))
    this.#connectLocking = connectLocking
    this.#onCommitted = onCommitted
    this.#crash = crash
  }

  take(partitions: readonly number[], limit: number, inHand: readonly string[]): Promise<TakenLog> {
    return this.#log.take(partitions, limit, inHand)
  }

  rows(seqs: readonly string[]): Promise<readonly LogRow[]> {
    return this.#log.rows(seqs)
  }

  isQuiet(): boolean {
    return this.#log.isQuiet
  }

  floorOf(partition: number): number {
    return this.#log.floorOf(partition)
  }

  load(keys: readonly { service: string; key: string }[]): Promise<readonly LoadedEntity[]> {
    return loadEntities(this.#reader, keys)
  }

  encode(batch: EffectBatch): void {
    this.#encoded = { batch, statement: this.#statement(batch) }
  }

  async commit(batch: EffectBatch): Promise<void> {
    const encoded = this.#encoded
    this.#encoded = undefined
    const stored = store(this.#client, encoded?.batch === batch ? encoded.statement : this.#statement(batch))
    await this.#unlessBehind(sent(stored, this.#client, 'engine.commit-sent', this.#crash))
    this.#onCommitted(batch)
  }

  #statement(batch: EffectBatch): CommitStatement {
    return commitStatement(batch, batch.unread && this.#log.lowestFloor(batch.unread))
  }

  /** What waits must be taken before the next commit that would look for itself. */
  async #unlessBehind(stored: Promise<void>): Promise<void> {
    try {
      await stored
    } catch (error) {
      if (error instanceof BatchAborted && error.failure === 'behind') this.#log.wake()
      throw error
    }
  }

  async recover(ids: readonly string[], claims: readonly string[], consumed: readonly string[]): Promise<Recovery> {
    const outcomes = (await run<OutcomeRow>(this.#client, 'twofold_outcomes', OUTCOMES, [plainArray(ids)])).map(storedOutcome)
    const claimed = await run<ClaimRow>(this.#client, 'twofold_claims', CLAIMS_BY_HASH, [plainArray(claims)])
    const parked = await run<{ id: string; holds: boolean }>(
      this.#client,
      'twofold_parked_ids',
      `select id, due_at = 'infinity' as holds from twofold._parked where id = any($1::uuid[])`,
      [plainArray(ids)],
    )
    const waiting = await run<{ seq: string }>(
      this.#client,
      'twofold_waiting',
      'select seq from twofold._command where seq = any($1::bigint[])',
      [plainArray(consumed)],
    )
    return {
      outcomes,
      claims: new Map(claimed.map((row) => [row.hash, storedClaim(row)])),
      parked: new Set(parked.map((row) => row.id)),
      holding: new Set(parked.filter((row) => row.holds).map((row) => row.id)),
      waiting: new Set(waiting.map((row) => row.seq)),
    }
  }

  async lastEvents(partitions: readonly number[]): Promise<ReadonlyMap<number, number>> {
    const text = `select p as partition, (select seq from twofold._event e where e.partition = p order by seq desc limit 1) as seq from unnest($1::int[]) p`
    const rows = await run<{ partition: number; seq: string | null }>(this.#client, 'twofold_last_events', text, [plainArray(partitions)])
    return new Map(rows.map((row) => [row.partition, Number(row.seq ?? 0)]))
  }

  async lastRow(): Promise<bigint> {
    const rows = await run<{ last: string }>(this.#reader, 'twofold_last_row', 'select last_value as last from twofold._command_seq', [])
    return BigInt(rows[0]?.last ?? 0)
  }

  async ended(commandIds: readonly string[]): Promise<readonly string[]> {
    return (await run<{ id: string }>(this.#reader, 'twofold_ended', ENDED, [plainArray(commandIds)])).map(({ id }) => id)
  }

  async begunBefore(commandIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const text = 'select id, count from twofold._attempt where id = any($1::uuid[])'
    const rows = await run<{ id: string; count: number }>(this.#client, 'twofold_begun_before', text, [plainArray(commandIds)])
    return new Map(rows.map(({ id, count }) => [id, count]))
  }

  async began(commandIds: readonly string[]): Promise<void> {
    await run(this.#client, 'twofold_began', BEGAN, [plainArray(commandIds.toSorted())])
  }

  async survived(commandIds: readonly string[]): Promise<void> {
    const text = 'delete from twofold._attempt where id = any($1::uuid[])'
    await run(this.#client, 'twofold_survived', text, [plainArray(commandIds)])
  }

  async takeBack(commandIds: readonly string[]): Promise<void> {
    await run(this.#client, 'twofold_take_back', TAKE_BACK, [plainArray(commandIds)])
  }

  async stillHeld(fences: EffectBatch['fences']): Promise<ReadonlySet<number>> {
    const rows = await run<{ partition: number }>(this.#client, 'twofold_still_held', STILL_HELD, fenceArrays(fences))
    return new Set(rows.map((row) => row.partition))
  }

  async parkedHeads(partitions: readonly number[]): Promise<readonly ParkedCommand[]> {
    return (await run<ParkedRow>(this.#reader, 'twofold_parked_heads', PARKED_HEADS, [plainArray(partitions)])).map(parkedCommand)
  }

  async parked(keys: readonly ParkedAt[], limit: number): Promise<readonly ParkedCommand[]> {
    const values = [
      plainArray(keys.map((each) => each.partition)),
      textArray(keys.map((each) => each.service)),
      textArray(keys.map((each) => each.key)),
      limit,
    ]
    return (await run<ParkedRow>(this.#client, 'twofold_parked', PARKED, values)).map(parkedCommand)
  }

  /** On a connection of its own: the lane's never sits in a transaction, so that nothing it does can hold locks while the process sleeps. */
  async locked<Result>(
    keys: readonly { service: string; key: string }[],
    fences: EffectBatch['fences'],
    work: (session: Pick<EffectSession, 'load' | 'commit'>) => Promise<Result>,
  ): Promise<Result> {
    const client = (this.#lockingClient ??= await this.#connectLocking())
    let stored: EffectBatch | undefined
    try {
      await run(client, '', 'begin', [])
      const held = await run(client, 'twofold_lock_fences', LOCK_FENCES, fenceArrays(fences))
      if (held.length !== fences.length) throw new BatchAborted('fenced', `${held.length} of ${fences.length} partitions are ours`)
      const rows = await lockEntities(client, keys)
      await this.#crash?.reach('cross.locked')
      const result = await work({
        load: () => Promise.resolve(rows),
        commit: async (batch) => {
          await this.#unlessBehind(store(client, this.#statement(batch)))
          stored = batch
        },
      })
      await this.#crash?.reach('cross.commit')
      await sent(run(client, '', 'commit', []), client, 'cross.commit-sent', this.#crash)
      await this.#crash?.reach('cross.committed')
      if (stored) this.#onCommitted(stored)
      return result
    } catch (error) {
      const lost = !(error instanceof BatchAborted) || error.failure === 'lost'
      if (lost) this.#dropLockingClient()
      else await run(client, '', 'rollback', []).catch(() => this.#dropLockingClient())
      throw error
    }
  }

  async close(): Promise<void> {
    const locking = this.#lockingClient
    this.#lockingClient = undefined
    await Promise.all([end(this.#client), end(this.#reader), locking && end(locking)])
  }

  #dropLockingClient(): void {
    const client = this.#lockingClient
    this.#lockingClient = undefined
    if (client !== undefined) void end(client)
  }
}

interface ParkedRow {
  seq: string
  partition: number
  envelope: string
  attempts: number
  error: string | null
  dueAt: string
}

function parkedCommand({ envelope, dueAt, seq, partition, attempts, error }: ParkedRow): ParkedCommand {
  return { seq, partition, attempts, envelope: decodeEnvelope(envelope), dueAt: Number(dueAt), error: error ?? undefined }
}

async function store(client: pg.Client, { name, text, values }: CommitStatement): Promise<void> {
  await run(client, name, text, values)
}

function fenceArrays(fences: EffectBatch['fences']): string[] {
  const sorted = fences.toSorted((a, b) => a.partition - b.partition)
  return [plainArray(sorted.map((fence) => fence.partition)), plainArray(sorted.map((fence) => fence.epoch))]
}
