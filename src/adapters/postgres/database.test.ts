import { afterEach, beforeEach, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { proxyTo } from '../../../test/support/proxy.ts'
import { PostgresDatabase } from './database.ts'

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
