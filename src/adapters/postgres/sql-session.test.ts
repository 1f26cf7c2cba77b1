// What a handler has said and not waited for when it ended.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import pg from 'pg'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { emptyBatch } from '../../ports/effect-store.ts'
import type { SqlSession } from '../../ports/sql-store.ts'
import { migrate } from './migrate.ts'
import { PostgresSqlStore } from './sql-store.ts'

let own: TestDatabase
let client: pg.Client
let store: PostgresSqlStore

const batch = { ...emptyBatch, fences: [{ partition: 1, epoch: '0' }] }

beforeAll(async () => {
  own = await testDatabase()
  await migrate(own.url, { appName: 'test', partitionCount: 4 })
  client = new pg.Client({ connectionString: own.url })
  await client.connect()
  await client.query('create table account (name text primary key)')
  store = new PostgresSqlStore({
    url: own.url,
    instanceId: randomUUID(),
    leaseMs: 10_000,
    statementMs: 10_000,
    onCommitted: () => undefined,
  })
})
beforeEach(async () => void (await client.query('truncate account')))
afterAll(async () => {
  await client.end()
  await own.drop()
})

const names = async (): Promise<string[]> =>
  (await client.query<{ name: string }>('select name from account order by 1')).rows.map(({ name }) => name)

test.each([
  ['thrown', (session: SqlSession) => session.rollback()],
  ['rejected', (session: SqlSession) => session.commitWithout(batch)],
] as const)('what a handler has said and not waited for is undone with the rest, where it has %s', async (_how, end) => {
  const session = await store.open()
  session.beginLater({ service: 's', keys: ['a'] })
  const { transaction } = session
  const said = ['a', 'b', 'c'].map((name) => transaction.query('insert into account values ($1)', [name]))
  await end(session)
  await Promise.allSettled(said)
  expect(await names()).toEqual([])
  await session.close()
})

test('what a handler has said and not waited for before its keys were refused is a conflict, and not stored', async () => {
  const [session, rival] = [await store.open(), await store.open()]
  await rival.begin({ commandId: randomUUID(), service: 's', keys: ['a'], claimHash: undefined, parkedSeq: undefined })
  session.beginLater({ service: 's', keys: ['a'] })
  const said = session.transaction.query(`insert into account values ('a')`)
  await expect(session.commitWithout(batch)).rejects.toMatchObject({ failure: 'conflict' })
  await expect(said).rejects.toMatchObject({ code: '55P03' })
  await session.rollback()
  await rival.rollback()
  expect(await names()).toEqual([])
  await session.close()
  await rival.close()
})

test('a connection on which handlers have named more statements than a program says is not used on', async () => {
  const session = await store.open()
  const name = async (from: number, to: number): Promise<void> => {
    session.beginLater({ service: 's', keys: ['a'] })
    const { transaction } = session
    for (let at = from; at < to; at += 1) await transaction.query({ name: `mine ${at}`, text: 'select 1' } as unknown as string)
    await session.rollback()
  }
  await name(0, 500)
  expect(session.usable).toBe(true)
  await name(500, 1100)
  expect(session.usable).toBe(false)
  await session.close()
})
