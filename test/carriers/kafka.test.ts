// What the conformance suite does not ask of Kafka: records that others have put into its topic, and a broker that is not there.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { start, type RunningApp } from 'twofold'
import { clusterOf } from '../../src/adapters/kafka/carrier.ts'
import { requests } from '../../src/adapters/kafka/protocol.ts'
import { hasKafka, kafkaForTests, type KafkaForTests } from '../brokers/kafka/for-tests.ts'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { bankApp } from './bank.ts'

const PARTITIONS = 2
let database: TestDatabase

beforeEach(async () => {
  database = await testDatabase()
})
afterEach(() => database.drop())

function started(name: string, kafkaBrokers: readonly string[]): Promise<RunningApp> {
  return start(bankApp(name), {
    url: database.url,
    port: 0,
    logLevel: 'fatal',
    partitionCount: PARTITIONS,
    carrier: 'kafka',
    kafkaBrokers,
    prepare: async (tx) => void (await tx.query('create table if not exists book (account text primary key, numbers int[] not null)')),
  })
}

test('a Kafka that does not answer is one sentence, and nothing starts', async () => {
  await expect(started('bank', ['127.0.0.1:1'])).rejects.toMatchObject({
    code: 'BROKER_UNREACHABLE',
    message: expect.stringMatching(/^Kafka does not answer at 127\.0\.0\.1:1 .*KAFKA_BROKERS/),
  })
})

describe.skipIf(!hasKafka)('over Kafka', () => {
  let kafka: KafkaForTests

  beforeAll(async () => {
    kafka = await kafkaForTests()
  }, 180_000)
  afterAll(() => kafka?.stop(), 30_000)

  test('a record that is no command becomes a dead letter, and its partition goes on', async () => {
    const name = `bank-${randomUUID().slice(0, 8)}`
    const app = await started(name, kafka.brokers)
    const client = new pg.Client({ connectionString: database.url })
    await client.connect()
    const { database_id: databaseId } = (await client.query('select database_id from twofold._app')).rows[0]
    const names = { app: name, databaseId, partitionCount: PARTITIONS }
    const cluster = clusterOf({ brokers: kafka.brokers }, { ...names, instanceId: 'stranger' })
    await cluster.refresh()
    const { topic } = cluster
    const records = Array.from({ length: PARTITIONS }, (_, partition) => [
      { topic, partition, key: Buffer.from('k'), value: Buffer.from([0xff, 0xfe, partition]) },
      { topic, partition, key: Buffer.from('k'), value: Buffer.from(`{"no":"command"}\t${partition}`) },
    ]).flat()
    await cluster.ask('control', cluster.leaderOf(0) as number, requests.produce, -1, 5_000, records, { compression: 'none' })
    await cluster.close()
    const headers = { 'content-type': 'application/json' }
    for (const account of ['a', 'b', 'c', 'd']) {
      const answer = await fetch(`${app.url}/bank/note`, { method: 'POST', headers, body: JSON.stringify({ account, number: 1 }) })
      expect(await answer.json()).toEqual({ numbers: [1] })
    }
    await until('they are buried', async () => (await client.query('select from twofold.dead_letter')).rowCount === records.length)
    await client.end()
    await app.stop()
  })
})
