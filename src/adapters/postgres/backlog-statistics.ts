// How much waits in a partition: told exactly where it is little, estimated where it is much. Counting a million rows would take seconds,
// and whoever is about to refuse commands wants to know twice a second.
import type { Transaction } from '../../ports/database.ts'

/** What waits in one partition, as it was counted last. */
export interface PartitionBacklog {
  readonly partition: number
  readonly commands: number
  readonly bytes: number
  readonly parked: number
  /** How long the oldest of its commands has waited, in milliseconds; undefined: none waits. */
  readonly oldestMs: number | undefined
  readonly fullKeys: readonly (readonly [service: string, key: string])[]
  /** How long ago that was, in milliseconds. */
  readonly ageMs: number
}

/** An owner counts its own partitions; those that nobody has counted for so long, because they have no live owner, anybody counts. */
const UNCOUNTED_SECONDS = 3

/** An owner that lives may rest between two counts, for a minute at most. If it has not counted for so long it cannot, and others do. */
const UNCOUNTED_OWNED_SECONDS = 120

/** From the first row on, and from each further quarter, so many rows are looked at. Fewer rows than that are all of them. */
const SAMPLES = 4
const SAMPLE_ROWS = 32

/** So many keys of one partition are told to be full; further ones fill up until there is room in the list. */
const FULL_KEYS_MAX = 100

// The rows of a sample, and how many numbers they are spread over, say how many rows a quarter of the numbers has: numbers are shared by
// all partitions, so not each is a row of this one. With a million waiting rows it is 1.6 % off.
const PUBLISH = `with mine as materialized (
    select p.partition from twofold._partition p left join twofold._backlog b on b.partition = p.partition
      where p.owner = $1 or b.at is null or b.at < clock_timestamp() - interval '1 second' * case
        when exists (select from twofold._instance i where i.id = p.owner and i.lease_until > clock_timestamp())
          then ${UNCOUNTED_OWNED_SECONDS} else ${UNCOUNTED_SECONDS} end),
  ends as materialized (
    select m.partition, lowest.seq as low, highest.seq as high, lowest.appended_at as oldest from mine m
      cross join lateral (select c.seq, c.appended_at from twofold._command c where c.partition = m.partition order by c.seq limit 1) lowest
      cross join lateral (select c.seq from twofold._command c where c.partition = m.partition order by c.seq desc limit 1) highest),
  starts as (
    select e.*, quarter, low + (high - low) * quarter / ${SAMPLES} as start from ends e cross join generate_series(0, ${SAMPLES - 1}) quarter),
  samples as (
    select s.partition, s.low, s.high, s.quarter, s.start, max(r.seq) as until, sum(r.count) as commands, sum(r.bytes) as bytes
      from starts s cross join lateral (
        select c.seq, c.count, octet_length(c.body) as bytes from twofold._command c
          where c.partition = s.partition and c.seq >= s.start order by c.seq limit ${SAMPLE_ROWS}) r
      group by s.partition, s.low, s.high, s.quarter, s.start),
  weighed as (
    select partition, case
        when bool_or(quarter = 0 and until = high) over (partition by partition) then (quarter = 0)::int
        else (high - low + 1)::float8 / ${SAMPLES} / (until - start + 1) end as weight, commands, bytes
      from samples),
  waiting as (
    select partition, sum(commands * weight)::bigint as commands, sum(bytes * weight)::bigint as bytes from weighed group by partition),
  held as materialized (
    select p.partition, p.service, p.key, count(*) as commands from twofold._parked p join mine using (partition) group by 1, 2, 3),
  parked as (
    select partition, sum(commands)::bigint as commands,
        (json_agg(json_build_array(service, key)) filter (where commands >= $2 and place <= ${FULL_KEYS_MAX}))::text as full_keys
      from (select h.*, row_number() over (partition by partition order by commands desc) as place from held h) h group by partition)
  insert into twofold._backlog as b (partition, commands, bytes, oldest, parked, full_keys)
    select m.partition, coalesce(w.commands, 0), coalesce(w.bytes, 0), e.oldest, coalesce(k.commands, 0), coalesce(k.full_keys, '[]')
      from mine m left join ends e using (partition) left join waiting w using (partition) left join parked k using (partition)
      order by m.partition
    on conflict (partition) do update set commands = excluded.commands, bytes = excluded.bytes, oldest = excluded.oldest,
      parked = excluded.parked, full_keys = excluded.full_keys, at = excluded.at`

const READ = `select partition, commands::float8 as commands, bytes::float8 as bytes, parked::float8 as parked, full_keys::json as "fullKeys",
    extract(epoch from clock_timestamp() - oldest)::float8 * 1000 as "oldestMs", extract(epoch from clock_timestamp() - at)::float8 * 1000 as "ageMs"
  from twofold._backlog`

/** Counts what waits in the partitions of this instance, and in those that nobody counts. */
export async function publishBacklog(database: Transaction, instanceId: string, parkedPerKeyMax: number): Promise<void> {
  await database.query(PUBLISH, [instanceId, parkedPerKeyMax])
}

export async function readBacklog(database: Transaction): Promise<readonly PartitionBacklog[]> {
  const { rows } = await database.query<PartitionBacklog & { oldestMs: number | null }>(READ)
  return rows.map((row) => ({ ...row, oldestMs: row.oldestMs ?? undefined }))
}
