// How large Twofold's tables are on disk: rows, what is too long for a row, and indexes.
import type pg from 'pg'

/** Bytes of one table. */
export interface TableSize {
  readonly heap: number
  readonly index: number
  readonly toast: number
  readonly total: number
}

// The partitions of `_outcome` count as one table. The second fork of each, a map of free space, is part of `total` only.
const SIZES = `select regexp_replace(relname, '_(\\d+|default)$', '') as name, sum(pg_relation_size(oid))::float8 as heap,
    sum(pg_indexes_size(oid))::float8 as index, sum(coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0))::float8 as toast,
    sum(pg_total_relation_size(oid))::float8 as total
  from pg_class where relnamespace = 'twofold'::regnamespace and relkind = 'r' group by 1 order by 1`

export async function tableSizes(client: pg.ClientBase): Promise<Record<string, TableSize>> {
  const { rows } = await client.query<TableSize & { name: string }>(SIZES)
  return Object.fromEntries(rows.map(({ name, ...size }) => [name, size]))
}
