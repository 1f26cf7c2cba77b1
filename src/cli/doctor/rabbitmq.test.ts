import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rabbitmqCarrier } from '../../adapters/rabbitmq/rabbitmq-carrier.ts'
import { queueName } from '../../adapters/rabbitmq/topology.ts'
import { migrate } from '../../adapters/postgres/migrate.ts'
import { copiedDatabase } from '../../app/copied-database.ts'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { query } from '../../../test/support/fresh-database.ts'
import { amqpUrl, reaches, removeQueuesOf } from '../../../test/support/rabbitmq.ts'
import { lookAtRabbitMq } from './rabbitmq.ts'

test('a broker that does not answer is one sentence, without its password', async () => {
  const [check, ...others] = await lookAtRabbitMq('amqp://user:secret@127.0.0.1:9', undefined)
  expect(others).toEqual([])
  expect(check).toMatchObject({
    name: 'rabbitmq',
    status: 'fault',
    found: expect.stringMatching(/^RabbitMQ does not answer at 127\.0\.0\.1:9 /),
  })
  expect(JSON.stringify(check)).not.toContain('secret')
})

describe.runIf(await reaches(amqpUrl, 5672))('a broker that answers', () => {
  const app = `doctor-${process.pid}`
  let database: TestDatabase
  beforeAll(async () => {
    database = await testDatabase()
  })
  afterAll(async () => {
    await removeQueuesOf(database.url)
    await database.drop()
  })

  test('is told with its version and the queues of the app: none yet, all, or some', async () => {
    expect(await lookAtRabbitMq(amqpUrl, database.url)).toMatchObject([
      { status: 'ok', found: expect.stringMatching(/^RabbitMQ \d+\.\d+/) },
      { status: 'ok', found: expect.stringContaining('made at the first start') },
    ])
    const { databaseId } = await migrate(database.url, { appName: app, partitionCount: 2 })
    const names = { app, databaseId, partitionCount: 2 }
    const queues = async (): Promise<unknown> => (await lookAtRabbitMq(amqpUrl, database.url))[1]
    expect(await queues()).toMatchObject({ status: 'ok', found: expect.stringContaining('none of the queues') })
    const context = { ...names, instanceId: 'i', leaseMs: 2000, carriedMsMax: 1000, waitingMax: 1000, warn: () => undefined }
    const open = await rabbitmqCarrier(amqpUrl).open(context)
    await open.publish({ id: 'one', partition: 0, key: '', body: '' })
    await open.close()
    expect(await queues()).toMatchObject({
      status: 'warning',
      found: expect.stringMatching(
        /^2 queues of 'doctor-\d+', as Twofold makes them; 1 command waits in them; 2 queues that nobody consumes$/,
      ),
    })
    const { connect } = await import('amqplib')
    const connection = await connect(amqpUrl)
    const channel = await connection.createChannel()
    await channel.deleteQueue(queueName(names, 1))
    await connection.close()
    expect(await queues()).toMatchObject({ status: 'fault', found: expect.stringContaining('1 of 2 queues') })
    await query(database.url, `update twofold._app set origin = 'another server/1'`)
    expect(await queues(), 'a start is refused (DATABASE_COPIED), whatever lies at the broker').toEqual({
      name: 'rabbitmq.queues',
      status: 'fault',
      found: copiedDatabase(databaseId).message,
    })
  })
})
