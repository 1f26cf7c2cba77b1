import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import pg from 'pg'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { query } from '../../../test/support/fresh-database.ts'
import { SLOT_COUNT } from '../../contract/key.ts'
import { migrate } from './migrate.ts'

let own: TestDatabase

beforeEach(async () => {
  own = await testDatabase()
})
afterEach(() => own.drop())

test('many starters at once make one schema, and all read the same map', async () => {
  const maps = await Promise.all(Array.from({ length: 8 }, (_, at) => migrate(own.url, { appName: 'shop', partitionCount: at + 1 })))
  expect(maps.every((map) => map.partitionCount === maps[0]?.partitionCount)).toBe(true)
  expect(maps[0]?.partitionOf).toHaveLength(SLOT_COUNT)
  expect(new Set(maps[0]?.partitionOf).size).toBe(maps[0]?.partitionCount)
})

test('a later start keeps the number of partitions', async () => {
  await migrate(own.url, { appName: 'shop', partitionCount: 16 })
  expect((await migrate(own.url, { appName: 'shop', partitionCount: 64 })).partitionCount).toBe(16)
})

test('neither the number of partitions nor the map of slots can be changed under a running instance', async () => {
  const before = await migrate(own.url, { appName: 'shop', partitionCount: 4 })
  const client = new pg.Client({ connectionString: own.url })
  await client.connect()
  try {
    for (const change of [
      'update twofold._slot set partition = 0',
      'delete from twofold._slot where slot = 7',
      'update twofold._app set partition_count = 8',
      'delete from twofold._partition where partition = 3',
    ])
      await expect(client.query(change), change).rejects.toThrow(/fixed when it is made: .* make a new database/)
  } finally {
    await client.end()
  }
  expect(await migrate(own.url, { appName: 'shop', partitionCount: 8 })).toEqual(before)
})

test('a user who may not create schemas starts on one that is there', async () => {
  await migrate(own.url, { appName: 'shop', partitionCount: 4 })
  const client = new pg.Client({ connectionString: own.url })
  await client.connect()
  const role = `plain_${own.url.slice(-12)}`
  await client.query(`create role ${role} login password 'plain'`)
  await client.query(`grant usage, create on schema twofold to ${role}; grant all on all tables in schema twofold to ${role}`)
  const url = new URL(own.url)
  url.username = role
  url.password = 'plain'
  try {
    expect((await migrate(url.href, { appName: 'shop', partitionCount: 4 })).partitionCount).toBe(4)
  } finally {
    await client.query(`drop owned by ${role}; drop role ${role}`)
    await client.end()
  }
})

test('a schema that another build made is left alone', async () => {
  await migrate(own.url, { appName: 'shop', partitionCount: 4 })
  const client = new pg.Client({ connectionString: own.url })
  await client.connect()
  await client.query(`update twofold._migration set checksum = 'other' where number = 2`)
  await client.end()
  await expect(migrate(own.url, { appName: 'shop', partitionCount: 4 })).rejects.toMatchObject({
    code: 'SCHEMA_CHANGED',
    message: expect.stringContaining('migration 2 (guards)'),
  })
})

test('a database of another app and one of a newer program are left alone', async () => {
  await migrate(own.url, { appName: 'shop', partitionCount: 4 })
  await expect(migrate(own.url, { appName: 'bank', partitionCount: 4 })).rejects.toMatchObject({
    code: 'APP_MISMATCH',
    message: expect.stringContaining("belongs to app 'shop', not to 'bank'"),
  })
  const client = new pg.Client({ connectionString: own.url })
  await client.connect()
  await client.query(`insert into twofold._migration (number, name, checksum) values (9000, 'later', '')`)
  await client.end()
  await expect(migrate(own.url, { appName: 'shop', partitionCount: 4 })).rejects.toMatchObject({ code: 'SCHEMA_TOO_NEW' })
})

test('a migration that cannot have its lock lets appends pass and is tried again until it can', async () => {
  await migrate(own.url, { appName: 'shop', partitionCount: 4 })
  const [appender, other] = [new pg.Client({ connectionString: own.url }), new pg.Client({ connectionString: own.url })]
  const append = `insert into twofold._command (partition, first_id, last_id, count, body)
    values (0, gen_random_uuid(), gen_random_uuid(), 1, 'c')`
  await Promise.all([appender.connect(), other.connect()])
  try {
    await other.query(`drop index twofold._command_span; create index _command_first_id on twofold._command (first_id);
      delete from twofold._migration where number = 6`)
    await appender.query('begin')
    await appender.query(append)
    const migrated = migrate(own.url, { appName: 'shop', partitionCount: 4 })
    const waits = `select 1 from pg_locks l join pg_stat_activity a using (pid) where not l.granted and a.application_name = 'twofold start'
      and l.relation = 'twofold._command'::regclass`
    await vi.waitUntil(async () => (await other.query(waits)).rowCount !== 0, { timeout: 50_000, interval: 5 })
    await other.query(`set lock_timeout = '10s'`)
    await other.query(append)
    await appender.query('commit')
    await migrated
    expect((await other.query(`select to_regclass('twofold._command_span') as index`)).rows).toEqual([
      { index: expect.stringContaining('_command_span') },
    ])
  } finally {
    await appender.end()
    await other.end()
  }
}, 120_000)

test('a database has an id of its own, which stays until somebody gives it another one', async () => {
  const { databaseId } = await migrate(own.url, { appName: 'shop', partitionCount: 4 })
  expect(databaseId).toMatch(/^[0-9a-f]{8}$/)
  expect((await migrate(own.url, { appName: 'shop', partitionCount: 4 })).databaseId).toBe(databaseId)
  const joined = `insert into twofold._instance (id, roles, lease_until) values (gen_random_uuid(), '{}', clock_timestamp() + interval '1 hour')`
  await query(own.url, joined)
  await expect(query(own.url, 'select twofold.new_database_id()')).rejects.toMatchObject({
    code: 'TF003',
    message: expect.stringMatching(/stop them first/),
  })
  await query(own.url, 'delete from twofold._instance')
  const [made] = await query(own.url, 'select twofold.new_database_id() as id')
  expect(made?.['id']).toMatch(/^[0-9a-f]{8}$/)
  expect(made?.['id']).not.toBe(databaseId)
  expect((await migrate(own.url, { appName: 'shop', partitionCount: 4 })).databaseId).toBe(made?.['id'])
})
