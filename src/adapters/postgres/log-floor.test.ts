import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import pg from 'pg'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { encodeEnvelope } from '../../contract/envelope.ts'
import type { EffectSession } from '../../ports/effect-store.ts'
import { lowestIdAt } from './command-ids.ts'
import { PostgresEffectStore } from './effect-store.ts'
import { LogFloor } from './log-floor.ts'
import { migrate } from './migrate.ts'

test('a number is settled once all who might still insert up to it are gone', () => {
  const floor = new LogFloor()
  const settledAfter = (last: number, writers: readonly string[]): number => {
    floor.look({ last, writers })
    floor.raise([0], [], [])
    return floor.of(0)
  }
  expect(settledAfter(10, ['a'])).toBe(0)
  expect(settledAfter(20, ['b'])).toBe(0)
  // `b` may still insert up to 10.
  expect([settledAfter(30, ['b', 'c']), settledAfter(30, ['c', 'd'])]).toEqual([0, 10])
  expect([settledAfter(30, ['d']), settledAfter(40, []), settledAfter(40, [])]).toEqual([10, 30, 30])
})

test('the floor of a partition stays below what waits there, and below what is in hand', () => {
  const floor = new LogFloor()
  for (let look = 0; look < 4; look += 1) floor.look({ last: 100, writers: [] })
  const raised = (rows: readonly [seq: number, partition: number][], inHand: readonly number[]): number[] => {
    floor.raise(
      [0, 1, 2],
      rows.map(([seq, partition]) => ({ seq: String(seq), partition })),
      inHand.map(String),
    )
    return [0, 1, 2].map((partition) => floor.of(partition))
  }
  const rows: [number, number][] = [
    [30, 1],
    [40, 1],
    [50, 2],
  ]
  expect(raised(rows, [20])).toEqual([19, 19, 19])
  expect(raised(rows, [])).toEqual([100, 29, 49])
})

let own: TestDatabase
let client: pg.Client
beforeAll(async () => {
  own = await testDatabase()
  await migrate(own.url, { appName: 'test', partitionCount: 4 })
  client = new pg.Client({ connectionString: own.url })
  await client.connect()
})
afterAll(async () => {
  await client.end()
  await own.drop()
})

const open = (): Promise<EffectSession> =>
  new PostgresEffectStore({
    url: own.url,
    applicationName: 'test',
    instanceId: randomUUID(),
    leaseMs: 10_000,
    onCommitted: () => undefined,
  }).open()

let ids = 0
async function append(on: pg.Client, partition: number): Promise<string> {
  const id = lowestIdAt((ids += 1))
  const body = encodeEnvelope({ id, service: 's', command: 'c', keys: ['k'], input: '{}' })
  const { rows } = await on.query<{ seq: string }>(
    'insert into twofold._command (partition, first_id, last_id, count, body) values ($1, $2, $2, 1, $3) returning seq',
    [partition, id, body],
  )
  return rows[0]?.seq ?? ''
}

const taken = async (session: EffectSession): Promise<string[]> => (await session.take([0, 1, 2, 3], 100, [])).rows.map(({ seq }) => seq)

/** Takes until the log has been looked at often enough for its floor to be raised. */
async function untilRaised(session: EffectSession): Promise<void> {
  for (let look = 0; look < 5; look += 1) {
    await taken(session)
    await client.query('select pg_sleep(0.25)')
  }
  await taken(session)
}

test('an append that is committed late, behind newer ones that were consumed long ago, is taken at once', async () => {
  const session = await open()
  const slow = new pg.Client({ connectionString: own.url })
  await slow.connect()
  await slow.query('begin')
  const late = await append(slow, 1)
  for (let round = 0; round < 20; round += 1) await append(client, 1)
  await client.query('delete from twofold._command')
  await untilRaised(session)
  const newest = await append(client, 1)
  await slow.query('commit')
  expect(await taken(session)).toEqual([late, newest])
  await client.query('delete from twofold._command')
  await slow.end()
  await session.close()
})

test('what is appended to a log in which nothing waited is taken at once', async () => {
  // No time passes: the log is never due to be looked at anew.
  vi.useFakeTimers({ toFake: ['performance'] })
  const session = await open()
  try {
    for (let round = 0; round < 3; round += 1) {
      expect(await taken(session)).toEqual([])
      const appended = await append(client, 1)
      expect(await taken(session)).toEqual([appended])
      await client.query('delete from twofold._command')
    }
  } finally {
    vi.useRealTimers()
    await session.close()
  }
})

test('while a reader holds a snapshot a take does not walk over what was consumed before', async () => {
  const reader = new pg.Client({ connectionString: own.url })
  await reader.connect()
  await reader.query('begin isolation level repeatable read')
  await reader.query('select count(*) from twofold._command')
  await client.query(`insert into twofold._command (partition, first_id, last_id, count, body)
    select n % 4, gen_random_uuid(), gen_random_uuid(), 1, 'x' from generate_series(1, 20000) n`)
  await client.query('delete from twofold._command')
  const waiting = await append(client, 2)

  // The statistics say now what they say of most logs: there is next to nothing in it.
  await client.query('vacuum analyze twofold._command')
  const once = await visitedBy(async (session) => expect(await taken(session)).toEqual([waiting]))
  expect(once).toBeGreaterThan(200)
  const often = await visitedBy(async (session) => {
    await untilRaised(session)
    for (let take = 0; take < 200; take += 1) expect(await taken(session)).toEqual([waiting])
  })
  expect(often).toBeLessThan(20 * once)
  await reader.end()
})

/** Blocks of the log that the takes of a session visited; a connection tells its counts at the latest when it ends. */
async function visitedBy(work: (session: EffectSession) => Promise<void>): Promise<number> {
  // What this client has visited itself is told first.
  await client.query('select pg_stat_force_next_flush()')
  const [before, others] = [await visited(), await connected()]
  const session = await open()
  await work(session)
  await session.close()
  await expect.poll(connected, { timeout: 10_000 }).toBe(others)
  return (await visited()) - before
}

async function connected(): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    'select count(*)::int as count from pg_stat_activity where datname = current_database()',
  )
  return rows[0]?.count ?? 0
}

async function visited(): Promise<number> {
  const { rows } = await client.query<{ visited: string }>(
    `select idx_blks_read + idx_blks_hit + heap_blks_read + heap_blks_hit as visited from pg_statio_user_tables where relname = '_command'`,
  )
  return Number(rows[0]?.visited)
}
