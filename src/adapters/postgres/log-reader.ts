// Reads what waits in the log: fairly among partitions, and without walking over what was consumed before.
import { decodeEnvelope } from '../../contract/envelope.ts'
import type { LogRow, TakenLog } from '../../ports/effect-store.ts'
import { plainArray } from './array-literal.ts'
import { LogFloor, type LogLook } from './log-floor.ts'

// Only partitions with rows share the rows of a take, so that one busy partition gets them all and many get some each. They take turns, row
// by row, and each take begins with another one: what waits in one partition, a million or not, never keeps another one waiting. Reading by
// (partition, seq) keeps the cost apart from what waits in partitions of other owners: with 200,000 of their rows 0.2 ms instead of 42 ms
// by seq alone; with 64 busy partitions 0.5 ms for 512 rows, where 256 of each would cost 8 ms.
const ROWS_PER_TAKE = 512
const ROWS_PER_PARTITION_MIN = 8

// Each partition is read from its floor on, see `LogFloor`: what was consumed below it may be dead rows that a snapshot keeps in place.
// Whether one has rows is asked by `lateral … limit 1`: an `exists` becomes a join, and PostgreSQL then reads the whole index once, dead rows
// included, when its statistics say that the log is small.
const TAKE = `with busy as materialized (
    select p.partition, p.floor, p.place from unnest($1::int[], $4::bigint[]) with ordinality p(partition, floor, place)
      cross join lateral (select 1 from twofold._command c
        where c.partition = p.partition and c.seq > p.floor and c.seq <> all ($3::bigint[]) order by c.seq limit 1) waits),
  share as materialized (select greatest(${ROWS_PER_PARTITION_MIN}, ${ROWS_PER_TAKE} / greatest(count(*), 1)) as rows from busy)
select seq, partition, case when before < $2::int then body end as body, read, (select rows from share)::int as share from (
    select t.*, sum(count) over (order by turn, (place - 1 + cardinality($1::int[]) - $5::int) % cardinality($1::int[])) - count as before from (
      select r.*, busy.place, row_number() over mine as turn, count(*) over (partition by r.partition)::int as read
        from busy cross join lateral (
          select seq, partition, body, count from twofold._command c
            where c.partition = busy.partition and c.seq > busy.floor and c.seq <> all ($3::bigint[])
            order by seq limit (select rows from share)) r
        window mine as (partition by r.partition order by r.seq)) t
  ) w where before < $2::int or turn = 1 order by seq`

// Whether anything at all waits. Where the last take found nothing this is asked first: it costs a quarter of a take, which looks into
// every partition (75 against 300 µs of the server's time with 64 of them), and a lone direct command waits for the answer.
const WAITS = 'select 1 from twofold._command where seq > $1 limit 1'

const ROWS = 'select seq, partition, body from twofold._command where seq = any($1::bigint[]) order by seq'

// Who inserts into the log holds RowExclusiveLock on it until after its commit; readers, and whoever holds a snapshot, do not.
const LOOK = `select (case when is_called then last_value else 0 end)::float8 as last, array(
    select virtualtransaction from pg_locks where locktype = 'relation' and relation = 'twofold._command'::regclass
      and database = (select oid from pg_database where datname = current_database()) and mode = 'RowExclusiveLock' and granted) as writers
  from twofold._command_seq`

/** After so many takes in a row that found the whole log empty a commit may look for itself. */
const QUIET_TAKES = 3

/** How often the log is looked at to raise the floor, and how often a take sweeps from the bottom all the same. */
const LOOK_EACH_MS = 200
const SWEEP_EACH_MS = 10_000

/** A log row as pg returns it. `body` is null where it was not this row's turn: of each partition with rows at least the first is told. */
interface TakenRow {
  readonly seq: string
  readonly partition: number
  readonly body: string | null
  /** How many rows of its partition were read, and how many would have been at most. */
  readonly read: number
  readonly share: number
}

interface StoredRow {
  readonly seq: string
  readonly partition: number
  readonly body: string
}

type Run = (name: string, text: string, values: readonly unknown[]) => Promise<object[]>

/** Of one connection. */
export class LogReader {
  readonly #run: Run
  readonly #floor = new LogFloor()
  /** The place of the partition whose turn is first. */
  #turn = 0
  #lookedAt = -Infinity
  #sweptAt = performance.now()
  /** So many takes in a row found nothing, for anybody. */
  #emptyTakes = 0

  constructor(run: Run) {
    this.#run = run
  }

  async take(partitions: readonly number[], limit: number, inHand: readonly string[]): Promise<TakenLog> {
    const sweeps = this.#sweeps()
    const looked = await this.#look()
    // A take that may raise the floor is not spared: below it may lie what this question would walk over as well.
    if (this.#emptyTakes > 0 && !sweeps && !looked && !(await this.#waits(partitions))) {
      this.#emptyTakes += 1
      return { rows: [], more: new Set() }
    }
    const floors = plainArray(partitions.map((partition) => (sweeps ? 0 : this.#floor.of(partition))))
    const values = [plainArray(partitions), limit, plainArray(inHand), floors, this.#turn % Math.max(1, partitions.length)]
    const rows = (await this.#run('twofold_take', TAKE, values)) as TakenRow[]
    if (looked) this.#floor.raise(partitions, rows, inHand)
    const taken = rows.flatMap(({ seq, partition, body }) => (body === null ? [] : [{ seq, partition, body }]))
    const counts = new Map<number, number>()
    for (const { partition } of taken) counts.set(partition, (counts.get(partition) ?? 0) + 1)
    this.#turn += counts.size
    this.#emptyTakes = rows.length === 0 ? 1 : 0
    const more = rows.filter(({ partition, read, share }) => read >= share || (counts.get(partition) ?? 0) < read)
    return {
      rows: taken.map(rowOf),
      more: new Set(more.map(({ partition }) => partition)),
    }
  }

  async rows(seqs: readonly string[]): Promise<LogRow[]> {
    const rows = (await this.#run('twofold_rows', ROWS, [plainArray(seqs)])) as StoredRow[]
    return rows.map(rowOf)
  }

  /** The log has been empty for a few takes, and none is due to see about its floor. */
  get isQuiet(): boolean {
    const now = performance.now()
    return this.#emptyTakes >= QUIET_TAKES && now - this.#lookedAt < LOOK_EACH_MS && now - this.#sweptAt < SWEEP_EACH_MS
  }

  /** Nothing of this partition waits at or below it. */
  floorOf(partition: number): number {
    return this.#floor.of(partition)
  }

  /** Nothing of these partitions waits at or below it. */
  lowestFloor(partitions: readonly number[]): number {
    return Math.min(...partitions.map((partition) => this.#floor.of(partition)))
  }

  /** Something waits after all. */
  wake(): void {
    this.#emptyTakes = 0
  }

  async #waits(partitions: readonly number[]): Promise<boolean> {
    return (await this.#run('twofold_waits', WAITS, [this.lowestFloor(partitions)])).length > 0
  }

  /** True: the take that follows may raise the floor. */
  async #look(): Promise<boolean> {
    const now = performance.now()
    if (now - this.#lookedAt < LOOK_EACH_MS) return false
    this.#lookedAt = now
    const [look] = (await this.#run('twofold_look', LOOK, [])) as LogLook[]
    if (look !== undefined) this.#floor.look(look)
    return true
  }

  #sweeps(): boolean {
    const now = performance.now()
    if (now - this.#sweptAt < SWEEP_EACH_MS) return false
    this.#sweptAt = now
    return true
  }
}

function rowOf({ seq, partition, body }: StoredRow): LogRow {
  return { seq, partition, commands: body.split('\n').map(decodeEnvelope) }
}
