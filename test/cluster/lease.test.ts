import { expect, test } from 'vitest'
import { startBackend } from '../../src/app/backend.ts'
import { resolveOptions } from '../../src/app/options.ts'
import { defineApp } from 'twofold'
import { testDatabase } from '../support/database.ts'
import { bankSide } from '../engine/fixture.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

test('slow queries that take all connections do not cost an instance its lease', async () => {
  const database = await testDatabase()
  const options = resolveOptions({ roles: ['stateful'], leaseMs: 1000, partitionCount: 8 })
  const backend = await startBackend(defineApp('bank', [bankSide]), database.url, options, quiet)
  const epochs = 'select array_agg(epoch order by partition) as epochs from twofold.partition'
  const before = await backend.ports.database.query(epochs)
  await Promise.all(Array.from({ length: 20 }, () => backend.ports.database.query('select pg_sleep(1.2)')))
  expect((await backend.ports.database.query(epochs)).rows).toEqual(before.rows)
  await backend.stop()
  await database.drop()
})
