import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasKafka, kafkaForTests, type KafkaForTests } from '../../../test/brokers/kafka/for-tests.ts'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { query } from '../../../test/support/fresh-database.ts'
import { bankApp } from '../../../test/carriers/bank.ts'
import { copiedDatabase } from '../../app/copied-database.ts'
import { start } from '../../index.ts'
import { doctor } from '../commands/doctor-fixture.ts'

let own: TestDatabase

beforeAll(async () => {
  own = await testDatabase()
})
afterAll(() => own.drop())

test('a Kafka that does not answer is a fault with its way out', async () => {
  const { check, exitCode } = await doctor(['--json', '--url', own.url], { TWOFOLD_CARRIER: 'kafka', KAFKA_BROKERS: '127.0.0.1:1' })
  expect(check('kafka')).toMatchObject({
    status: 'fault',
    found: expect.stringMatching(/^Kafka does not answer at 127\.0\.0\.1:1 \(connect ECONNREFUSED/),
    advice: 'start it, or set KAFKA_BROKERS to where it is',
  })
  expect(exitCode).toBe(1)
})

describe.skipIf(!hasKafka)('with Kafka', () => {
  let kafka: KafkaForTests

  beforeAll(async () => {
    kafka = await kafkaForTests()
  }, 180_000)
  afterAll(() => kafka?.stop(), 30_000)

  test('it is told what the topic is, and how many commands wait in it', async () => {
    const environment = { TWOFOLD_CARRIER: 'kafka', KAFKA_BROKERS: kafka.brokers.join() }
    const before = await doctor(['--json', '--url', own.url], environment)
    expect(before.check('kafka')).toMatchObject({ status: 'ok', found: expect.stringMatching(/: 1 broker, new enough$/) })
    expect(before.check('kafka.topic')).toEqual({})
    const name = `bank-${randomUUID().slice(0, 8)}`
    const app = await start(bankApp(name), {
      url: own.url,
      port: 0,
      logLevel: 'silent',
      partitionCount: 4,
      carrier: 'kafka',
      kafkaBrokers: kafka.brokers,
      roles: ['stateless'],
    })
    const headers = { 'content-type': 'application/json' }
    await fetch(`${app.url}/bank/send`, { method: 'POST', headers, body: '{"account":"a","number":1}' })
    const [{ id: databaseId } = {}] = await query(own.url, 'select database_id as id from twofold._app')
    const after = await doctor(['--json', '--url', own.url], environment)
    expect(after.check('kafka.topic')).toEqual({
      name: 'kafka.topic',
      status: 'ok',
      found: `topic ${name}.commands.${databaseId}.4 is on 1 broker, kept for 23 h; commands that wait in it: 1`,
    })
    await query(own.url, `update twofold._app set origin = 'another server/1'`)
    const copied = await doctor(['--json', '--url', own.url], environment)
    const { message: found } = copiedDatabase(String(databaseId))
    expect(copied.check('kafka.topic')).toEqual({ name: 'kafka.topic', status: 'fault', found })
    await app.stop()
  })
})
