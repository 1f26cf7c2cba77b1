// The accepting and the taking side around a broker, end to end: over HTTP, with the one in memory.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { start, type RunningApp, type StartOptions } from 'twofold'
import { memoryCarrier, type MemoryCarrier } from 'twofold/testing'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { bankApp, failing } from './bank.ts'

let database: TestDatabase
let client: pg.Pool
let carrier: MemoryCarrier
const running: RunningApp[] = []

beforeEach(async () => {
  database = await testDatabase()
  client = new pg.Pool({ connectionString: database.url, max: 2 })
  carrier = memoryCarrier()
  failing.clear()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((app) => app.stop()))
  await client.end()
  await database.drop()
})

async function started(options: StartOptions = {}): Promise<RunningApp> {
  const app = await start(bankApp('bank'), {
    url: database.url,
    port: 0,
    logLevel: 'fatal',
    partitionCount: 8,
    carrier,
    prepare: async (tx) => void (await tx.query('create table if not exists book (account text primary key, numbers int[] not null)')),
    ...options,
  })
  running.push(app)
  return app
}

const send = (app: RunningApp, command: string, account: string, number: number, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${app.url}/${command}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ account, number }),
  })

async function numbersOf(account: string): Promise<number[]> {
  const { rows } = await client.query('select state from twofold.entity where key = $1', [account])
  return rows[0]?.state.numbers ?? []
}

const count = async (what: string): Promise<number> => (await client.query(`select count(*)::int as count from ${what}`)).rows[0].count

const databaseId = async (): Promise<string> => (await client.query('select database_id from twofold._app')).rows[0].database_id

test('a command is accepted once the broker has it, and takes effect', async () => {
  const app = await started()
  const answer = await send(app, 'bank/send', 'a', 1)
  expect(answer.status).toBe(202)
  expect(await count('twofold._command')).toBe(0)
  await until('it ran', async () => (await numbersOf('a')).length === 1)
  const status = await fetch(`${app.url}${answer.headers.get('location')}`)
  expect(await status.json()).toMatchObject({ status: 'succeeded', reply: { numbers: [1] } })
})

test('what is waited for goes the same way, behind what was accepted before', async () => {
  const app = await started()
  for (let number = 1; number <= 30; number += 1) expect((await send(app, 'bank/send', 'a', number)).status).toBe(202)
  const answer = await send(app, 'bank/note', 'a', 31)
  expect(answer.status).toBe(200)
  expect(await answer.json()).toEqual({ numbers: Array.from({ length: 31 }, (_, at) => at + 1) })
})

test('a repeated request is published again only as the same command', async () => {
  const app = await started()
  const key = { 'idempotency-key': `"${randomUUID()}"` }
  const [first, second] = [await send(app, 'bank/send', 'a', 1, key), await send(app, 'bank/send', 'a', 1, key)]
  expect([first.status, second.status]).toEqual([202, 202])
  expect(second.headers.get('twofold-command-id')).toBe(first.headers.get('twofold-command-id'))
  const waited = { 'idempotency-key': `"${randomUUID()}"` }
  const [note, again] = [await send(app, 'bank/note', 'a', 2, waited), await send(app, 'bank/note', 'a', 2, waited)]
  expect([await note.json(), await again.json()]).toEqual([{ numbers: [1, 2] }, { numbers: [1, 2] }])
  expect(await numbersOf('a')).toEqual([1, 2])
})

test('a claim whose command was never published is made good by the retry', async () => {
  const app = await started()
  const key = { 'idempotency-key': `"${randomUUID()}"` }
  carrier.cut()
  expect((await send(app, 'bank/send', 'a', 1, key)).status).toBe(503)
  expect(await count('twofold._claim where command is not null')).toBe(1)
  carrier.restore()
  expect((await send(app, 'bank/send', 'a', 1, key)).status).toBe(202)
  await until('it ran', async () => (await numbersOf('a')).length === 1)
})

test('a failing command holds its key alone, and is acknowledged', async () => {
  const app = await started()
  failing.add('a')
  for (const number of [1, 2, 3]) await send(app, 'bank/send', 'a', number)
  await send(app, 'bank/send', 'b', 1)
  await until('the neighbour ran', async () => (await numbersOf('b')).length === 1)
  failing.clear()
  await until('all came to an end', async () => (await count('twofold._parked')) === 0 && (await count('twofold._outcome')) === 4)
  expect((await numbersOf('a')).toSorted((a, b) => a - b)).toEqual(await numbersOf('a'))
})

test('SQL commands take the same way and keep their order', async () => {
  const app = await started()
  for (let number = 1; number <= 40; number += 1) expect((await send(app, 'books/book', 'a', number)).status).toBe(202)
  await until('they ran', async () => (await count('twofold._outcome')) === 40)
  expect((await client.query('select numbers from book')).rows[0].numbers).toEqual(Array.from({ length: 40 }, (_, at) => at + 1))
})

test('what is no command becomes a dead letter, and its partition goes on', async () => {
  const app = await started()
  const open = await carrier.open({
    app: 'bank',
    databaseId: await databaseId(),
    partitionCount: 8,
    instanceId: '',
    leaseMs: 1000,
    waitingMax: 100,
    carriedMsMax: 3_600_000,
    warn: () => undefined,
  })
  for (let partition = 0; partition < 8; partition += 1) {
    await open.publish({ id: '', partition, key: '', body: 'no command' })
    const time = Date.now().toString(16).padStart(12, '0')
    const lost = {
      id: `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-00000000000${partition}`,
      service: 'bank',
      command: 'send',
      keys: ['stray'],
    }
    await open.publish({ id: lost.id, partition, key: '', body: `${JSON.stringify(lost)}\t{"account":"stray","number":${partition}}` })
  }
  expect((await send(app, 'bank/note', 'a', 1)).status).toBe(200)
  await until('they are buried', async () => (await count('twofold.dead_letter')) === 8)
  await until('the one with its key here ran', async () => (await numbersOf('stray')).length === 1)
})

test('connections that are dropped around a command change nothing of it', async () => {
  const app = await started({ crash: 'carrier.publish:2:drop,carrier.confirmed:4:drop,carrier.done:6:drop' })
  for (let number = 1; number <= 10; number += 1) expect((await send(app, 'bank/send', 'a', number)).status).toBe(202)
  const answer = await send(app, 'bank/note', 'a', 11)
  expect(await answer.json()).toEqual({ numbers: Array.from({ length: 11 }, (_, at) => at + 1) })
})

test('without the broker commands are refused, and what it held goes on afterwards', async () => {
  const app = await started()
  carrier.cut()
  expect((await send(app, 'bank/send', 'a', 1)).status).toBe(503)
  expect((await send(app, 'bank/note', 'a', 2)).status).toBe(503)
  carrier.restore()
  expect(await (await send(app, 'bank/note', 'a', 3)).json()).toEqual({ numbers: [3] })
})

test('with `log` commands are taken while the broker is away, and run in order when it is back', async () => {
  const app = await started({ whenAway: 'log' })
  expect((await send(app, 'bank/send', 'a', 1)).status).toBe(202)
  carrier.cut()
  for (const number of [2, 3, 4]) expect((await send(app, 'bank/send', 'a', number)).status).toBe(202)
  expect(await count('twofold._command')).toBeGreaterThan(0)
  carrier.restore()
  for (const number of [5, 6]) expect((await send(app, 'bank/send', 'a', number)).status).toBe(202)
  await until('all ran', async () => (await numbersOf('a')).length === 6)
  expect(await numbersOf('a')).toEqual([1, 2, 3, 4, 5, 6])
  await until('the log is empty', async () => (await count('twofold._command')) === 0)
})

test('what waits in the log from before is handed on, and nothing overtakes it', async () => {
  const before = await started({ carrier: 'postgres', roles: ['stateless'] })
  for (const number of [1, 2, 3]) expect((await send(before, 'bank/send', 'a', number)).status).toBe(202)
  await before.stop()
  const app = await started()
  for (const number of [4, 5]) expect((await send(app, 'bank/send', 'a', number)).status).toBe(202)
  await until('all ran', async () => (await numbersOf('a')).length === 5)
  expect(await numbersOf('a')).toEqual([1, 2, 3, 4, 5])
})

test('a second instance takes its share over, and every account keeps its order', { timeout: 60_000 }, async () => {
  const app = await started({ leaseMs: 1000 })
  const accounts = Array.from({ length: 8 }, (_, at) => `account-${at}`)
  const stop = new AbortController()
  let sent = 0
  const loads = accounts.map(async (account) => {
    for (let number = 1; !stop.signal.aborted; number += 1) {
      const answer = await send(app, 'bank/send', account, number)
      expect(answer.status).toBe(202)
      sent += 1
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })
  const second = await started({ leaseMs: 1000 })
  await until(
    'both own partitions',
    async () => (await count('(select distinct owner from twofold._partition where owner is not null) o')) === 2,
  )
  await new Promise((resolve) => setTimeout(resolve, 300))
  await second.stop()
  stop.abort()
  await Promise.all(loads)
  await until('all ran', async () => (await count('twofold._outcome')) === sent)
  for (const account of accounts) {
    const numbers = await numbersOf(account)
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, at) => at + 1))
  }
})

test('`perPath` goes straight to the owner, also while the broker is away', async () => {
  const app = await started()
  carrier.cut()
  expect(await (await send(app, 'bank/shortcut', 'a', 1)).json()).toEqual({ numbers: [1] })
})
