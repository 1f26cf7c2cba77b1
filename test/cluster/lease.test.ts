import pg from 'pg'
import { expect, test } from 'vitest'
import { startBackend } from '../../src/app/backend.ts'
import { resolveOptions } from '../../src/app/options.ts'
import { defineApp } from 'twofold'
import { until } from '../e2e/program.ts'
import { testDatabase } from '../support/database.ts'
import { bankSide } from '../engine/fixture.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

test('slow queries that take all connections do not cost an instance its lease', async () => {
  const database = await testDatabase()
  const options = resolveOptions({ roles: ['stateful'], leaseMs: 1000, partitionCount: 8 })
  const backend = await startBackend(defineApp('bank', [bankSide]), database.url, options, quiet)
  const epochs = 'select array_agg(epoch order by partition) as epochs from twofold.partition'
  const before = await backend.ports.database.query(epochs)
  await Promise.all(Array.from({ length: 10 }, () => backend.ports.database.query('select pg_sleep(2.4)')))
  expect((await backend.ports.database.query(epochs)).rows).toEqual(before.rows)
  await backend.stop()
  await database.drop()
})

// Rule 20
test('the lease of an engine that does not get on is not renewed; it comes back once it does', async () => {
  const database = await testDatabase()
  const options = resolveOptions({ roles: ['stateful'], leaseMs: 1000, partitionCount: 8 })
  const backend = await startBackend(defineApp('bank', [bankSide]), database.url, options, quiet)
  const rival = new pg.Client({ connectionString: database.url })
  await rival.connect()
  const alive = async (): Promise<boolean> => (await rival.query('select 1 from twofold.instance where alive')).rowCount === 1
  await rival.query('begin; lock table twofold._entity in exclusive mode')
  const envelope = { id: backend.ports.ids.next(), service: 'bank', command: 'credit', keys: ['a'], input: '{"account":"a","amount":1}' }
  const call = backend.ports.direct?.call(envelope, AbortSignal.timeout(20_000))
  await until('its lease has ended', async () => !(await alive()))
  await rival.query('rollback')
  // Either it was stored just in time, or its caller sends it through the log.
  expect((await call)?.status).toMatch(/finished|deferred/)
  await until('it has joined again and owns everything', async () => {
    const { rowCount } = await rival.query('select 1 from twofold.partition p join twofold.instance i on i.id = p.owner and i.alive')
    return rowCount === 8
  })
  await rival.end()
  await backend.stop()
  await database.drop()
})
