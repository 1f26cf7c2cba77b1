// Brings the schema up to date: numbered .sql files, each applied once, by whichever of many starters comes first.
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import pg from 'pg'
import { TwofoldError } from '../../errors.ts'
import type { SlotMap } from '../../ports/slots.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import { connectionSettings } from './database.ts'
import { sqlState, translate } from './pg-errors.ts'

export interface MigrateOptions {
  /** One database holds one app. */
  readonly appName: string
  /** For a new database; an existing one keeps its own. */
  readonly partitionCount: number
  readonly crash?: CrashPoints | undefined
}

/** What a program works with: the map from slots to partitions, and what stands for this database in names outside of it. */
export interface MigratedDatabase extends SlotMap {
  /** 8 hexadecimal digits. */
  readonly databaseId: string
  /** The id was made in another database, of which this one is a copy: who takes whose place is for people to say. */
  readonly isCopy: boolean
}

interface Migration {
  readonly number: number
  readonly name: string
  readonly sql: string
  readonly checksum: string
}

type AppliedMigration = Pick<Migration, 'number' | 'name' | 'checksum'>

/** Held for a whole migration, so that starters come one after the other. Any number will do that no one else uses. */
const LOCK = 7_306_917_001

/** How long a start waits for others who migrate, and tries to get the locks it needs itself. */
const PATIENCE_MS = 60_000

/** Instances of the program before may be at work on the tables, and all they do queues up behind a lock that is waited for. */
const TABLE_LOCK_MS = 100

const AGAIN = { minMs: 200, maxMs: 4000 }

const LOCK_NOT_AVAILABLE = '55P03'

/**
 * Applies what is missing and returns what is fixed for this database.
 * @throws TwofoldError SCHEMA_TOO_NEW, SCHEMA_CHANGED, APP_MISMATCH, DATABASE_FORBIDDEN, UNAVAILABLE
 */
export async function migrate(url: string, options: MigrateOptions): Promise<MigratedDatabase> {
  const migrations = await readMigrations()
  const client = new pg.Client({
    ...connectionSettings(url, 'twofold start'),
    lock_timeout: PATIENCE_MS,
    statement_timeout: 120_000,
    query_timeout: 125_000,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    const until = performance.now() + PATIENCE_MS
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await migrateOnce(client, migrations, options)
      } catch (error) {
        if (sqlState(error) !== LOCK_NOT_AVAILABLE || performance.now() >= until) throw error
        await client.query('rollback')
        await pause(backoffMs(attempt, AGAIN))
      }
    }
  } catch (error) {
    if ((error as { code?: unknown }).code === '42501') {
      throw new TwofoldError(
        'DATABASE_FORBIDDEN',
        `the user of DATABASE_URL may not change the schema "twofold" (${(error as Error).message}): let its owner start first, or grant it`,
        {
          cause: error,
        },
      )
    }
    throw translate(error)
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** All in one transaction: a program that turns out to belong to another app has changed nothing. */
async function migrateOnce(client: pg.Client, migrations: readonly Migration[], options: MigrateOptions): Promise<MigratedDatabase> {
  await client.query('begin')
  await client.query('select pg_advisory_xact_lock($1)', [LOCK])
  await client.query(`set local lock_timeout = '${TABLE_LOCK_MS}ms'`)
  await apply(client, migrations, options.crash)
  const slots = await prepare(client, options)
  await options.crash?.reach('migration.commit')
  await client.query('commit')
  return slots
}

async function apply(client: pg.Client, migrations: readonly Migration[], crash: CrashPoints | undefined): Promise<void> {
  // Asked first, because `if not exists` wants the right to create a schema also where there is one.
  const { rows: schema } = await client.query<{ exists: boolean }>(`select to_regnamespace('twofold') is not null as exists`)
  if (!schema[0]?.exists) await client.query('create schema twofold')
  await client.query(`create table if not exists twofold._migration (
    number int primary key, name text not null, checksum text not null, at timestamptz not null default clock_timestamp())`)
  const rows = await appliedMigrations(client)
  const fault = differenceOf(rows, migrations)
  if (fault !== undefined) throw fault
  const applied = new Set(rows.map((row) => row.number))
  for (const migration of migrations.filter(({ number }) => !applied.has(number))) {
    await client.query(migration.sql)
    await client.query('insert into twofold._migration (number, name, checksum) values ($1, $2, $3)', [
      migration.number,
      migration.name,
      migration.checksum,
    ])
    await crash?.reach('migration.applied')
  }
}

async function appliedMigrations(client: pg.ClientBase): Promise<readonly AppliedMigration[]> {
  return (await client.query<AppliedMigration>('select number, name, checksum from twofold._migration order by number')).rows
}

/** Why this program cannot work with what was applied, or undefined. */
function differenceOf(applied: readonly AppliedMigration[], migrations: readonly Migration[]): TwofoldError | undefined {
  const newest = applied.at(-1)
  const known = migrations.at(-1)?.number ?? 0
  if (newest !== undefined && newest.number > known) {
    return new TwofoldError(
      'SCHEMA_TOO_NEW',
      `the database is at migration ${newest.number} (${newest.name}), this program knows ${known}: start the newer program that made it`,
    )
  }
  const changed = applied.find((row) => migrations.some(({ number, checksum }) => number === row.number && checksum !== row.checksum))
  if (changed === undefined) return undefined
  return new TwofoldError(
    'SCHEMA_CHANGED',
    `migration ${changed.number} (${changed.name}) of the database is not the one of this program: start the program that made it, or name another database`,
  )
}

/** What of the schema is there, without changing it. */
export interface SchemaVersion {
  /** The newest migration that was applied; undefined: there is no schema. */
  readonly applied: number | undefined
  /** The newest one of this program. */
  readonly known: number
  /** Why this program cannot work with it: SCHEMA_TOO_NEW, SCHEMA_CHANGED. */
  readonly fault: TwofoldError | undefined
}

export async function schemaVersion(client: pg.ClientBase): Promise<SchemaVersion> {
  const migrations = await readMigrations()
  const known = migrations.at(-1)?.number ?? 0
  const { rows } = await client.query<{ exists: boolean }>(`select to_regclass('twofold._migration') is not null as exists`)
  if (!rows[0]?.exists) return { applied: undefined, known, fault: undefined }
  const applied = await appliedMigrations(client)
  return { applied: applied.at(-1)?.number, known, fault: differenceOf(applied, migrations) }
}

interface StoredApp {
  readonly name: string
  readonly partition_count: number
  readonly database_id: string
  readonly origin: string | null
  readonly here: string | null
}

/** Names the app and fills slots and partitions, once; afterwards only reads them. */
async function prepare(client: pg.Client, { appName, partitionCount }: MigrateOptions): Promise<MigratedDatabase> {
  const inserted = await client.query('insert into twofold._app (name, partition_count) values ($1, $2) on conflict do nothing', [
    appName,
    partitionCount,
  ])
  if (inserted.rowCount === 1) {
    await client.query('insert into twofold._slot select slot, slot % $1 from generate_series(0, 4095) slot', [partitionCount])
    await client.query('insert into twofold._partition (partition) select generate_series(0, $1 - 1)', [partitionCount])
  }
  const app = await client.query<StoredApp>(
    'select name, partition_count, database_id, origin, twofold.database_origin() as here from twofold._app',
  )
  const stored = app.rows[0]
  if (stored === undefined || stored.name !== appName) {
    throw new TwofoldError(
      'APP_MISMATCH',
      `this database belongs to app '${stored?.name}', not to '${appName}': name another database in DATABASE_URL, or another data folder`,
    )
  }
  const slots = await client.query<{ partition: number }>('select partition from twofold._slot order by slot')
  const partitionOf = slots.rows.map((row) => row.partition)
  const { partition_count: count, database_id: databaseId, origin, here } = stored
  if (origin === null && here !== null) await client.query('update twofold._app set origin = $1', [here])
  return { partitionCount: count, partitionOf, databaseId, isCopy: origin !== null && here !== null && origin !== here }
}

async function readMigrations(): Promise<Migration[]> {
  const folder = new URL('migrations/', import.meta.url)
  const names = (await readdir(folder)).filter((name) => /^\d{4}_.+\.sql$/.test(name)).toSorted()
  return Promise.all(
    names.map(async (name) => {
      const sql = await readFile(new URL(name, folder), 'utf8')
      return { number: Number(name.slice(0, 4)), name: name.slice(5, -4), sql, checksum: createHash('sha256').update(sql).digest('hex') }
    }),
  )
}
