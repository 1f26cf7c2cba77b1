import pg from 'pg'
import { expect, test } from 'vitest'
import { testDatabase } from '../../../test/support/database.ts'
import { proxyTo } from '../../../test/support/proxy.ts'
import { within } from '../../../test/support/within.ts'
import { end } from './guarded-query.ts'

test('a connection that has fallen silent is ended in a moment, and leaves no socket', async () => {
  const database = await testDatabase()
  const proxy = await proxyTo(database.url)
  const client = new pg.Client({ connectionString: proxy.url })
  client.on('error', () => undefined)
  await client.connect()
  proxy.freeze()
  await within('it has ended', end(client), 5000)
  expect(client.connection.stream.destroyed).toBe(true)
  await proxy.close()
  await database.drop()
})
