// Two databases under the name of one app, staging beside production say, or one for each developer, that share a broker.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { start, type RunningApp, type StartOptions } from 'twofold'
import { memoryCarrier } from 'twofold/testing'
import { hasKafka, kafkaForTests, type KafkaForTests } from '../brokers/kafka/for-tests.ts'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { dropDatabase, query } from '../support/fresh-database.ts'
import { amqpUrl, hasRabbitMq, removeQueuesOf } from '../support/rabbitmq.ts'
import { bankApp } from './bank.ts'

const databases: TestDatabase[] = []
const running: RunningApp[] = []
let kafka: KafkaForTests | undefined

beforeEach(async () => {
  databases.push(await testDatabase(), await testDatabase())
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((app) => app.stop()))
  for (const database of databases.splice(0)) {
    if (hasBroker) await removeQueuesOf(database.url)
    await database.drop()
  }
  await kafka?.stop()
  kafka = undefined
}, 30_000)

const hasBroker = await hasRabbitMq('that two databases share no queue')

const prepare: StartOptions['prepare'] = async (tx) => {
  await tx.query('create table if not exists book (account text primary key, numbers int[] not null)')
}

/** What the app's instances are started with, the same for both databases. */
const carriers: readonly { readonly name: string; readonly isThere: boolean; readonly options: () => Promise<StartOptions> }[] = [
  { name: 'memory', isThere: true, options: () => Promise.resolve({ carrier: memoryCarrier() }) },
  { name: 'rabbitmq', isThere: hasBroker, options: () => Promise.resolve({ carrier: 'rabbitmq', amqpUrl }) },
  {
    name: 'kafka',
    isThere: hasKafka,
    async options() {
      kafka = await kafkaForTests()
      return { carrier: 'kafka', kafkaBrokers: kafka.brokers }
    },
  },
]

describe.each(carriers.filter(({ isThere }) => isThere))('$name', ({ options }) => {
  test('of two databases of one app each gets its own commands, and none of the other', { timeout: 120_000 }, async () => {
    const name = `bank-${randomUUID().slice(0, 8)}`
    const shared = await options()
    const apps: RunningApp[] = []
    for (const { url } of databases)
      apps.push(await start(bankApp(name), { url, port: 0, logLevel: 'fatal', partitionCount: 2, prepare, ...shared }))
    running.push(...apps)
    const headers = { 'content-type': 'application/json' }
    for (const number of [1, 2, 3, 4]) {
      for (const [at, { url }] of apps.entries()) {
        const body = JSON.stringify({ account: 'a', number: number + at * 10 })
        expect((await fetch(`${url}/bank/send`, { method: 'POST', headers, body })).status).toBe(202)
      }
    }
    for (const [at, { url }] of databases.entries()) {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      const numbers = async (): Promise<number[]> => {
        const { rows } = await client.query(`select state from twofold.entity where key = 'a'`)
        return rows[0]?.state.numbers ?? []
      }
      try {
        // Too few: the other database has them.
        await until('all have run', async () => (await numbers()).length >= 4).catch(() => undefined)
        expect(await numbers()).toEqual([1, 2, 3, 4].map((number) => number + at * 10))
      } finally {
        await client.end()
      }
    }
  })
})

test('a copy of a database starts with a broker once somebody has said whose place it takes', { timeout: 60_000 }, async () => {
  const carrier = memoryCarrier()
  const started = async (url: string, options: StartOptions = {}): Promise<void> => {
    const app = await start(bankApp('bank'), { url, port: 0, logLevel: 'silent', partitionCount: 2, carrier, prepare, ...options })
    await app.stop()
  }
  const original = databases[0] as TestDatabase
  await started(original.url)
  const idOf = async (url: string): Promise<unknown> => (await query(url, 'select database_id as id from twofold._app'))[0]?.['id']
  for (const [statement, isSame] of [
    ['select twofold.new_database_id()', false],
    ['select twofold.keep_database_id()', true],
  ] as const) {
    const copy = await copyOf(original.url)
    try {
      await expect(started(copy), statement).rejects.toMatchObject({
        code: 'DATABASE_COPIED',
        message: expect.stringMatching(/is a copy, or was moved: .*twofold\.new_database_id\(\).*twofold\.keep_database_id\(\)/),
      })
      await started(copy, { carrier: 'postgres' })
      await query(copy, statement)
      await started(copy)
      expect((await idOf(copy)) === (await idOf(original.url)), statement).toBe(isSame)
    } finally {
      await dropDatabase(inject('postgresUrl'), copy)
    }
  }
})

async function copyOf(url: string): Promise<string> {
  const copy = new URL(url)
  copy.pathname = `/copy_${randomUUID().slice(0, 8)}`
  await query(inject('postgresUrl'), `create database ${copy.pathname.slice(1)} template ${new URL(url).pathname.slice(1)}`)
  return copy.href
}
