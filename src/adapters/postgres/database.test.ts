import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { proxyTo } from '../../../test/support/proxy.ts'
import type { Transaction } from '../../ports/database.ts'
import { connectionSettings, PostgresDatabase } from './database.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

let own: TestDatabase
let database: PostgresDatabase

beforeEach(async () => {
  own = await testDatabase()
  database = new PostgresDatabase({ url: own.url, applicationName: 'test', log: quiet })
})
afterEach(async () => {
  await database.close()
  await own.drop()
})

test('an error of the work itself ends a transaction and comes out as it is, whatever it says', async () => {
  await database.query('create table t (n int)')
  const fault = new Error('the connection form was closed: timeout')
  const failing = database.transaction(async (transaction) => {
    await transaction.query('insert into t values (1)')
    throw fault
  })
  await expect(failing).rejects.toBe(fault)
  expect((await database.query('select 1 from t')).rowCount).toBe(0)
})

test('a statement that comes after its transaction is refused, and runs in no other one', async () => {
  await database.query('create table t (n int)')
  const narrow = new PostgresDatabase({ url: own.url, applicationName: 'test', log: quiet, connectionsMax: 1 })
  let late: Transaction | undefined
  await narrow.transaction(async (transaction) => {
    late = transaction
    await transaction.query('insert into t values (1)')
  })
  await narrow.transaction(async (transaction) => {
    await transaction.query('insert into t values (2)')
    await expect(late?.query('insert into t values (3)')).rejects.toMatchObject({ code: 'HANDLER_MISUSED' })
  })
  expect((await database.query('select n from t order by n')).rows).toEqual([{ n: 1 }, { n: 2 }])
  await narrow.close()
})

test.each(['commit', 'select 1; rollback'])('whoever ends the transaction is told so: %s', async (text) => {
  await database.query('create table t (n int)')
  const misusing = database.transaction(async (transaction) => {
    await transaction.query(text)
    await transaction.query('insert into t values (1)')
  })
  await expect(misusing).rejects.toMatchObject({
    code: 'HANDLER_MISUSED',
    message: expect.stringContaining('has ended the transaction') as string,
  })
  expect((await database.query('select 1 from t')).rowCount).toBe(0)
})

test('a connection that falls silent is given up, and the next statement gets another one', async () => {
  const proxy = await proxyTo(own.url)
  const narrow = new PostgresDatabase({ url: proxy.url, applicationName: 'test', log: quiet, connectionsMax: 1, statementMs: 300 })
  try {
    await narrow.query('select 1')
    proxy.freeze()
    await expect(narrow.query('select 1')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect((await narrow.query('select 2 as n')).rows).toEqual([{ n: 2 }])
    const inside = narrow.transaction(async (transaction) => {
      proxy.freeze()
      await transaction.query('select 1')
    })
    await expect(inside).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect((await narrow.query('select 3 as n')).rows).toEqual([{ n: 3 }])
  } finally {
    await proxy.close()
    await narrow.close()
  }
})

test('a connection neither waits for ever nor lets others wait for ever', async () => {
  const client = new pg.Client(connectionSettings(own.url, 'test', { leaseMs: 8000, settings: ['enable_seqscan=off'] }))
  await client.connect()
  try {
    const names = ['lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'tcp_user_timeout', 'enable_seqscan', 'jit']
    const { rows } = await client.query<{ name: string; setting: string }>('select name, setting from pg_settings where name = any($1)', [
      names,
    ])
    expect(Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))).toEqual({
      lock_timeout: '2000',
      statement_timeout: '30000',
      idle_in_transaction_session_timeout: '4000',
      tcp_user_timeout: '8000',
      enable_seqscan: 'off',
      jit: 'off',
    })
  } finally {
    await client.end()
  }
})

test('transactions are read committed, whatever the database has for its default', async () => {
  const { rows } = await database.query<{ name: string }>('select current_database() as name')
  await database.query(`alter database ${rows[0]?.name} set default_transaction_isolation = 'repeatable read'`)
  const plain = new pg.Client({ connectionString: own.url })
  const ours = new pg.Client(connectionSettings(own.url, 'test'))
  await Promise.all([plain.connect(), ours.connect()])
  try {
    const isolation = async (client: pg.Client): Promise<unknown> => (await client.query('show transaction_isolation')).rows
    expect(await isolation(plain)).toEqual([{ transaction_isolation: 'repeatable read' }])
    expect(await isolation(ours)).toEqual([{ transaction_isolation: 'read committed' }])
  } finally {
    await plain.end()
    await ours.end()
  }
})
