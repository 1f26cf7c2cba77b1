// Both sides around Kafka, end to end over HTTP.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { start, type RunningApp, type StartOptions } from 'twofold'
import { hasKafka, kafkaForTests, type KafkaForTests } from '../brokers/kafka/for-tests.ts'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { bankApp, failing } from './bank.ts'

let kafka: KafkaForTests
let database: TestDatabase
let client: pg.Pool
let name: string
const running: RunningApp[] = []

async function started(options: StartOptions = {}): Promise<RunningApp> {
  const app = await start(bankApp(name), {
    url: database.url,
    port: 0,
    logLevel: 'fatal',
    partitionCount: 8,
    carrier: 'kafka',
    kafkaBrokers: kafka.brokers,
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

const upTo = (last: number): number[] => Array.from({ length: last }, (_, at) => at + 1)

describe.skipIf(!hasKafka)('over Kafka', () => {
  beforeAll(async () => {
    kafka = await kafkaForTests()
  }, 180_000)
  afterAll(() => kafka?.stop(), 30_000)
  beforeEach(async () => {
    database = await testDatabase()
    client = new pg.Pool({ connectionString: database.url, max: 2 })
    name = `bank-${randomUUID().slice(0, 8)}`
    failing.clear()
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.stop()))
    await client.end()
    await database.drop()
  })

  test('what is waited for goes the same way, behind what was accepted before', async () => {
    const app = await started()
    for (const number of upTo(30)) expect((await send(app, 'bank/send', 'a', number)).status).toBe(202)
    const answer = await send(app, 'bank/note', 'a', 31)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toEqual({ numbers: upTo(31) })
    expect(await count('twofold._command')).toBe(0)
  })

  test('a repeated request is published again only as the same command', async () => {
    const app = await started()
    const key = { 'idempotency-key': `"${randomUUID()}"` }
    const [first, second] = [await send(app, 'bank/send', 'a', 1, key), await send(app, 'bank/send', 'a', 1, key)]
    expect([first.status, second.status]).toEqual([202, 202])
    const waited = { 'idempotency-key': `"${randomUUID()}"` }
    const [note, again] = [await send(app, 'bank/note', 'a', 2, waited), await send(app, 'bank/note', 'a', 2, waited)]
    expect([await note.json(), await again.json()]).toEqual([{ numbers: [1, 2] }, { numbers: [1, 2] }])
  })

  test('a failing command holds its key alone, and the partition goes on', async () => {
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
    for (const number of upTo(40)) expect((await send(app, 'books/book', 'a', number)).status).toBe(202)
    await until('they ran', async () => (await count('twofold._outcome')) === 40)
    expect((await client.query('select numbers from book')).rows[0].numbers).toEqual(upTo(40))
  })

  test('a second instance takes its share over, and every account keeps its order', async () => {
    const app = await started({ leaseMs: 1000 })
    const accounts = Array.from({ length: 20 }, (_, at) => `account-${at}`)
    const stop = new AbortController()
    let sent = 0
    const loads = accounts.map(async (account) => {
      for (let number = 1; !stop.signal.aborted; number += 1) {
        expect((await send(app, 'bank/send', account, number)).status).toBe(202)
        sent += 1
      }
    })
    const second = await started({ leaseMs: 1000 })
    await until(
      'both own partitions',
      async () => (await count('(select distinct owner from twofold._partition where owner is not null) o')) === 2,
    )
    await new Promise((resolve) => setTimeout(resolve, 500))
    await second.stop()
    stop.abort()
    await Promise.all(loads)
    await until('all ran', async () => (await count('twofold._outcome')) === sent)
    for (const account of accounts) {
      const numbers = await numbersOf(account)
      expect(numbers).toEqual(upTo(numbers.length))
    }
  })

  test('a broker that does not answer is one sentence, and nothing starts', async () => {
    await expect(started({ kafkaBrokers: ['127.0.0.1:1'] })).rejects.toMatchObject({
      code: 'BROKER_UNREACHABLE',
      message: expect.stringMatching(/^Kafka does not answer at 127\.0\.0\.1:1 .*KAFKA_BROKERS/),
    })
  })
})
