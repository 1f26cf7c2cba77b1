// RabbitMQ as tests find it: at AMQP_URL, or where it listens by itself.
import { connect as connectTcp } from 'node:net'
import { connect } from 'amqplib'
import { deadQueueName, queueName, type QueueNames } from '../../src/adapters/rabbitmq/topology.ts'
import { query } from './fresh-database.ts'

export const amqpUrl = process.env['AMQP_URL'] ?? 'amqp://guest:guest@127.0.0.1:5672'

/** Whether something answers there. */
export function reaches(url: string, defaultPort: number): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connectTcp({ host: hostname, port: Number(port === '' ? defaultPort : port), timeout: 1000 })
    const answer = (yes: boolean) => (): void => {
      socket.destroy()
      resolve(yes)
    }
    socket.on('connect', answer(true)).on('error', answer(false)).on('timeout', answer(false))
  })
}

/** Whether RabbitMQ is there. Where it is not, it is printed that `what` is not tested. */
export async function hasRabbitMq(what: string): Promise<boolean> {
  const isThere = await reaches(amqpUrl, 5672)
  if (!isThere) console.log(`RabbitMQ does not answer at ${new URL(amqpUrl).host}: ${what} is NOT tested`)
  return isThere
}

/** Removes the queues of these names, whatever lies in them. */
export async function removeQueues(names: QueueNames, url: string = amqpUrl): Promise<void> {
  const connection = await connect(url)
  try {
    const channel = await connection.createChannel()
    for (let partition = 0; partition < names.partitionCount; partition += 1) await channel.deleteQueue(queueName(names, partition))
    await channel.deleteQueue(deadQueueName(names))
  } finally {
    await connection.close()
  }
}

/** Removes the queues of the app that lives in a database; where none does, there are none. */
export async function removeQueuesOf(databaseUrl: string, url: string = amqpUrl): Promise<void> {
  const names = await queueNamesOf(databaseUrl)
  if (names !== undefined) await removeQueues(names, url)
}

/** What the queues of the app in a database are named by. */
export async function queueNamesOf(databaseUrl: string): Promise<QueueNames | undefined> {
  const [schema] = await query(databaseUrl, `select to_regclass('twofold._app') as app`)
  if (schema?.['app'] === null) return undefined
  const [app] = await query(databaseUrl, 'select name, database_id as id, partition_count::text as count from twofold._app')
  return app && { app: String(app['name']), databaseId: String(app['id']), partitionCount: Number(app['count']) }
}
