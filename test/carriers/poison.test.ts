// What a broker delivers may be anything: it dies alone, and its neighbours go on.
import { afterEach, beforeEach, expect, test } from 'vitest'
import pg from 'pg'
import { start, type RunningApp } from 'twofold'
import { memoryCarrier, type MemoryCarrier } from 'twofold/testing'
import { slotOf } from '../../src/contract/key.ts'
import { CarriedWorks } from '../../src/stateful/engine/carried-works.ts'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { bankApp } from './bank.ts'

let database: TestDatabase
let client: pg.Pool
let carrier: MemoryCarrier
let app: RunningApp

beforeEach(async () => {
  database = await testDatabase()
  client = new pg.Pool({ connectionString: database.url, max: 2 })
  carrier = memoryCarrier()
  const prepare = 'create table if not exists book (account text primary key, numbers int[] not null)'
  const options = { url: database.url, port: 0, logLevel: 'fatal' as const, partitionCount: 8, carrier }
  app = await start(bankApp('bank'), { ...options, prepare: async (tx) => void (await tx.query(prepare)) })
})
afterEach(async () => {
  await app.stop()
  await client.end()
  await database.drop()
})

async function partitionOf(key: string): Promise<number> {
  return (await client.query('select partition from twofold._slot where slot = $1', [slotOf('bank', key)])).rows[0].partition
}

async function neighbourOf(key: string): Promise<string> {
  for (let at = 0; ; at += 1) if ((await partitionOf(`n${at}`)) === (await partitionOf(key))) return `n${at}`
}

/** Puts a message there that no gateway of ours has made. */
async function deliver(key: string, input: string): Promise<void> {
  const { database_id: databaseId } = (await client.query('select database_id from twofold._app')).rows[0]
  const context = { app: 'bank', databaseId, partitionCount: 8, instanceId: '', leaseMs: 1000, carriedMsMax: 60_000, waitingMax: 100 }
  const open = await carrier.open({ ...context, warn: () => undefined })
  const time = Date.now().toString(16).padStart(12, '0')
  const id = `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000001`
  const head = JSON.stringify({ id, service: 'bank', command: 'send', keys: [key] })
  await open.publish({ id, partition: await partitionOf(key), key: '', body: `${head}\t${input}` })
}

function note(account: string): Promise<Response> {
  const headers = { 'content-type': 'application/json', prefer: 'wait=6' }
  return fetch(`${app.url}/bank/note`, { method: 'POST', headers, body: JSON.stringify({ account, number: 1 }) })
}

const buried = (): Promise<void> =>
  until('it is buried', async () => (await client.query('select 1 from twofold._dead_letter')).rowCount === 1, 20_000)

test('a key that cannot be stored does not hold its partition up', { timeout: 30_000 }, async () => {
  await deliver('a\0', '{"account":"a","number":1}')
  expect((await note(await neighbourOf('a\0'))).status).toBe(200)
  await buried()
})

test('an input that is no JSON can be read as a dead letter, and so can all others', { timeout: 30_000 }, async () => {
  await deliver('a', 'no JSON')
  await buried()
  const { rows } = await client.query('select message from twofold.dead_letter')
  expect(rows).toMatchObject([{ message: { input: 'no JSON' } }])
})

test('a broker that does not let go of a partition is not waited for', async () => {
  const works = new CarriedWorks({
    carrier: { consume: () => Promise.resolve(), release: () => new Promise(() => undefined) },
    slots: { partitionCount: 1, partitionOf: Array.from({ length: 4096 }, () => 0) },
    inHandMax: 1,
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    ring: () => undefined,
  })
  works.consume([{ partition: 0, isAbandoned: false }])
  const late = new Promise((resolve) => setTimeout(resolve, 5000, 'still waiting'))
  expect(await Promise.race([works.release([0]), late])).toBeUndefined()
})
