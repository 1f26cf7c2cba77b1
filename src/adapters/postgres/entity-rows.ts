// Entities as rows: read, or locked before they are read.
import type pg from 'pg'
import { BatchAborted, type LoadedEntity } from '../../ports/effect-store.ts'
import { textArray } from './array-literal.ts'
import { run } from './guarded-query.ts'

const LOAD = `select e.service, e.key, e.version, e.shape, e.state
  from unnest($1::text[], $2::text[]) t(service, key) join twofold._entity e on e.service = t.service and e.key = t.key`

// The rows of several owners, locked in the order of the (sorted) arrays before anything is decided on them.
const LOCK = `${LOAD} for no key update of e`

// Those of them that do not exist have no row to lock.
const LOCK_ABSENT = 'select twofold.lock_absent($1::text[], $2::text[], true) as absent'

type EntityKeys = readonly { readonly service: string; readonly key: string }[]

/** Those of these entities that exist. */
export function loadEntities(client: pg.Client, keys: EntityKeys): Promise<readonly LoadedEntity[]> {
  return load(client, 'twofold_load', LOAD, keys)
}

/**
 * Locks these keys, which are sorted, until the transaction ends, whether or not there is an entity behind them, and loads those that exist.
 * @throws BatchAborted `conflict` when one was made just now: it has to be locked as the others
 */
export async function lockEntities(client: pg.Client, keys: EntityKeys): Promise<readonly LoadedEntity[]> {
  const rows = await load(client, 'twofold_lock', LOCK, keys)
  if (rows.length < keys.length) await lockAbsent(client, keys, rows)
  return rows
}

/** `_entity` as pg returns it. */
interface EntityRow {
  readonly service: string
  readonly key: string
  readonly version: string
  readonly shape: number
  readonly state: string | null
}

async function load(client: pg.Client, name: string, text: string, keys: EntityKeys): Promise<readonly LoadedEntity[]> {
  const values = [textArray(keys.map((key) => key.service)), textArray(keys.map((key) => key.key))]
  const rows = await run<EntityRow>(client, name, text, values)
  return rows.map((row) => ({ ...row, version: Number(row.version), state: row.state ?? undefined }))
}

async function lockAbsent(client: pg.Client, keys: EntityKeys, found: readonly LoadedEntity[]): Promise<void> {
  const there = new Set(found.map(({ service, key }) => `${service}\0${key}`))
  const missing = keys.filter(({ service, key }) => !there.has(`${service}\0${key}`))
  const values = [textArray(missing.map((key) => key.service)), textArray(missing.map((key) => key.key))]
  const [row] = await run<{ absent: string }>(client, 'twofold_lock_absent', LOCK_ABSENT, values)
  if (Number(row?.absent) !== missing.length) throw new BatchAborted('conflict', 'a key was made while its absence was about to be locked')
}
