import pg from 'pg'
import { expect, test } from 'vitest'
import { testDatabase } from './database.ts'

test('a connection left open fails the drop, which names it and removes the database all the same', async () => {
  const database = await testDatabase()
  const client = new pg.Client({ connectionString: database.url, application_name: 'forgotten' })
  const cut = new Promise<void>((resolve) => client.on('error', () => resolve()))
  await client.connect()
  await client.query('select 42')
  await expect(database.drop()).rejects.toThrow('connections were left open: forgotten (select 42)')
  await cut
  await expect(new pg.Client({ connectionString: database.url }).connect()).rejects.toMatchObject({ code: '3D000' })
})

test('a connection that is just closing does not fail the drop', async () => {
  const database = await testDatabase()
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const [dropped] = await Promise.allSettled([database.drop(), client.end()])
  expect(dropped.status).toBe('fulfilled')
})
