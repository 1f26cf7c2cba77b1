// An app whose broker is away when it starts.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { start, type RunningApp, type StartOptions } from 'twofold'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { proxyTo, type Proxy } from '../support/proxy.ts'
import { amqpUrl, hasRabbitMq, removeQueuesOf } from '../support/rabbitmq.ts'
import { bankApp } from './bank.ts'

describe.runIf(await hasRabbitMq('a broker that is away at the start'))('RabbitMQ away at the start', () => {
  let database: TestDatabase
  let client: pg.Client
  let proxy: Proxy
  let app: RunningApp | undefined

  beforeEach(async () => {
    database = await testDatabase()
    client = new pg.Client({ connectionString: database.url })
    await client.connect()
    proxy = await proxyTo(amqpUrl)
    await proxy.cut()
  })
  afterEach(async () => {
    await app?.stop()
    app = undefined
    await client.end()
    await proxy.close().catch(() => undefined)
    await removeQueuesOf(database.url)
    await database.drop()
  })

  const started = (whenAway: StartOptions['whenAway']): Promise<RunningApp> =>
    start(bankApp(`bank-${randomUUID().slice(0, 8)}`), {
      url: database.url,
      port: 0,
      logLevel: 'silent',
      partitionCount: 2,
      carrier: 'rabbitmq',
      amqpUrl: proxy.url,
      whenAway,
      prepare: async (tx) => void (await tx.query('create table if not exists book (account text primary key, numbers int[] not null)')),
    })

  test('with `refuse` nothing starts, and one sentence says what to do', async () => {
    await expect(started('refuse')).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
  })

  test('with `log` commands are taken at once, and run in order when it is there', { timeout: 40_000 }, async () => {
    app = await started('log')
    const { url } = app
    const send = async (number: number): Promise<number> => {
      const headers = { 'content-type': 'application/json' }
      return (await fetch(`${url}/bank/send`, { method: 'POST', headers, body: JSON.stringify({ account: 'a', number }) })).status
    }
    for (const number of [1, 2, 3]) expect(await send(number)).toBe(202)
    const waiting = async (): Promise<number> =>
      (await client.query('select coalesce(sum(count), 0)::int as count from twofold._command')).rows[0].count
    expect(await waiting()).toBe(3)
    await proxy.restore()
    const numbers = async (): Promise<number[]> =>
      (await client.query(`select state from twofold.entity where key = 'a'`)).rows[0]?.state.numbers ?? []
    await until('they ran', async () => (await numbers()).length === 3)
    for (const number of [4, 5]) expect(await send(number)).toBe(202)
    await until('all ran', async () => (await numbers()).length === 5)
    expect(await numbers()).toEqual([1, 2, 3, 4, 5])
    await until('nothing waits in the log', async () => (await waiting()) === 0)
  })
})
