// RabbitMQ as somebody sees it who changes nothing.
import { connect, type ChannelModel } from 'amqplib'
import { faultOf, propertiesOf, type BrokerFault } from './broker.ts'
import { deadQueueName, queueName, type QueueNames } from './topology.ts'

const CONNECT_MS_MAX = 3000

/** What the broker says of itself. */
export interface BrokerLook {
  readonly version: string
  /** Undefined: it can do what is needed. */
  readonly fault: BrokerFault | undefined
}

/** The queues of one app. */
export interface QueuesLook {
  readonly missing: readonly string[]
  /** Messages that are with nobody, all queues together. */
  readonly waiting: number
  /** Queues that nobody consumes. */
  readonly unserved: number
  readonly dead: number
  readonly deadQueue: string
}

/** Rejects where it does not answer. */
export function lookAtBroker(url: string): Promise<BrokerLook> {
  return connected(url, (connection) => {
    const properties = propertiesOf(connection)
    return Promise.resolve({ version: properties.version, fault: faultOf(properties) })
  })
}

export function lookAtQueues(url: string, names: QueueNames): Promise<QueuesLook> {
  return connected(url, async (connection) => {
    const missing: string[] = []
    let [waiting, unserved] = [0, 0]
    for (let partition = 0; partition < names.partitionCount; partition += 1) {
      const name = queueName(names, partition)
      const queue = await lookAtQueue(connection, name)
      if (queue === undefined) missing.push(name)
      waiting += queue?.messageCount ?? 0
      if (queue?.consumerCount === 0) unserved += 1
    }
    const deadQueue = deadQueueName(names)
    const dead = await lookAtQueue(connection, deadQueue)
    return { missing, waiting, unserved, dead: dead?.messageCount ?? 0, deadQueue }
  })
}

async function lookAtQueue(
  connection: ChannelModel,
  name: string,
): Promise<{ readonly messageCount: number; readonly consumerCount: number } | undefined> {
  const channel = await connection.createChannel()
  channel.on('error', () => undefined)
  try {
    const queue = await channel.checkQueue(name)
    await channel.close()
    return queue
  } catch (error) {
    if ((error as { readonly code?: number }).code === 404) return undefined
    throw error
  }
}

async function connected<Result>(url: string, use: (connection: ChannelModel) => Promise<Result>): Promise<Result> {
  const connection = await connect(url, { timeout: CONNECT_MS_MAX, clientProperties: { connection_name: 'twofold doctor' } })
  connection.on('error', () => undefined)
  try {
    return await use(connection)
  } finally {
    await connection.close().catch(() => undefined)
  }
}
