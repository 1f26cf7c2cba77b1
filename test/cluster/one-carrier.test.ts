// All instances of an app that live at a time carry commands the same way: by two ways commands of one key would have no order.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { start, type RunningApp, type StartOptions } from 'twofold'
import { memoryCarrier } from 'twofold/testing'
import { PostgresDatabase } from '../../src/adapters/postgres/database.ts'
import { PostgresInstances } from '../../src/adapters/postgres/instances.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { bankApp } from '../carriers/bank.ts'
import { startProgram, until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

let database: TestDatabase
let client: pg.Client
const running: RunningApp[] = []

beforeEach(async () => {
  database = await testDatabase()
  client = new pg.Client({ connectionString: database.url })
  await client.connect()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((app) => app.stop()))
  await client.end()
  await database.drop()
})

async function started(options: StartOptions): Promise<RunningApp> {
  const app = await start(bankApp('bank'), { url: database.url, port: 0, logLevel: 'silent', partitionCount: 2, leaseMs: 2000, ...options })
  running.push(app)
  return app
}

test('an instance with another carrier does not start while one lives, and says what to do', async () => {
  const first = await started({ carrier: memoryCarrier(), roles: ['stateless'] })
  expect(first.carrier).toBe('memory')
  await expect(started({ carrier: 'postgres' })).rejects.toMatchObject({
    code: 'CARRIER_MISMATCH',
    message: expect.stringMatching(
      /by 'postgres', and instance \S+ \(stateless\) of the same app by 'memory': .*TWOFOLD_CARRIER.* stop all instances/,
    ),
  })
  await first.stop()
  const { carrier } = await started({ carrier: 'postgres' })
  expect(carrier).toBe('postgres')
  expect((await client.query('select carrier from twofold.instance where alive')).rows).toEqual([{ carrier: 'postgres' }])
})

test('of two that join at once with different carriers one is refused', async () => {
  await migrate(database.url, { appName: 'bank', partitionCount: 2 })
  const databases = ['one', 'two'].map((name) => new PostgresDatabase({ url: database.url, applicationName: `join ${name}`, log: quiet }))
  const signals = { ring: () => undefined, listen: () => () => undefined }
  await client.query('begin')
  // Everybody may look who is there, and nobody join.
  await client.query('lock table twofold._instance in share mode')
  try {
    const joins = databases.map((each, at) =>
      new PostgresInstances(each, signals, quiet).join({
        id: randomUUID(),
        roles: [],
        leaseMs: 60_000,
        carrier: ['rabbitmq', 'postgres'][at],
      }),
    )
    const ended = Promise.allSettled(joins)
    const waiting = `select from pg_stat_activity where application_name like 'join %' and wait_event_type = 'Lock'`
    const other = new pg.Client({ connectionString: database.url })
    await other.connect()
    try {
      await until('both wait', async () => (await other.query(waiting)).rowCount === 2)
    } finally {
      await client.query('commit')
      await other.end()
    }
    const [one, two] = await ended
    expect([one, two].filter((each) => each?.status === 'fulfilled')).toHaveLength(1)
    expect([one, two]).toContainEqual({ status: 'rejected', reason: expect.objectContaining({ code: 'CARRIER_MISMATCH' }) })
    expect((await client.query('select from twofold._instance')).rowCount).toBe(1)
  } finally {
    await Promise.all(databases.map((each) => each.close()))
  }
})

test('one that was silent while others came with another carrier takes nothing until they are gone', { timeout: 30_000 }, async () => {
  const { url } = await started({ carrier: memoryCarrier(), roles: ['stateless'] })
  const send = async (): Promise<unknown> => {
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(`${url}/bank/send`, { method: 'POST', headers, body: '{"account":"a","number":1}' })
    return [answer.status, ((await answer.json()) as { code?: string }).code]
  }
  expect(await send()).toEqual([202, undefined])
  await client.query(`with silent as (update twofold._instance set lease_until = clock_timestamp())
    insert into twofold._instance (id, roles, lease_until, carrier) values (gen_random_uuid(), '{}', clock_timestamp() + interval '1 hour', 'kafka')`)
  await until('it is not ready', async () => (await fetch(`${url}/readyz`)).status === 503)
  expect(await send()).toEqual([503, 'CARRIER_MISMATCH'])
  await client.query(`delete from twofold._instance where carrier = 'kafka'`)
  await until('it is ready', async () => (await fetch(`${url}/readyz`)).status === 200)
  expect(await send()).toEqual([202, undefined])
})

test('a carrier that the code leaves undefined is the one of the environment', async () => {
  const environment = { DATABASE_URL: database.url, PORT: '0', TWOFOLD_CARRIER: 'rabbitmq', AMQP_URL: 'amqp://127.0.0.1:1' }
  const program = startProgram('test/cluster/undefined-carrier-app.ts', environment)
  try {
    expect((await program.printed(/RabbitMQ does not answer at (\S+)|is running/))[1]).toBe('127.0.0.1:1')
  } finally {
    await program.end('SIGKILL')
  }
})
