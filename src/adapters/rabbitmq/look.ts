// RabbitMQ as somebody sees it who changes nothing.
import { connect, type ChannelModel } from 'amqplib'
import { faultOf, propertiesOf, type BrokerFault } from './broker.ts'
import { differenceIn, saidDifference, type Difference } from './difference.ts'
import { rabbitMqFault } from './faults.ts'
import {
  deadQueueName,
  DEAD_QUEUE_ARGUMENTS,
  onChannel,
  queueArguments,
  queueName,
  withBound,
  type QueueArguments,
  type QueueNames,
} from './topology.ts'

const CONNECT_MS_MAX = 3000

/** So many queues are looked at a time. */
const AT_ONCE = 8

/** What the broker says of itself. */
export interface BrokerLook {
  readonly version: string
  /** Undefined: it can do what is needed. */
  readonly fault: BrokerFault | undefined
}

/** The queues of one app. */
export interface QueuesLook {
  readonly missing: readonly string[]
  /** A sentence for each that is not as it would be declared. */
  readonly different: readonly string[]
  /** Messages that are with nobody, all queues together. */
  readonly waiting: number
  /** Queues that nobody consumes. */
  readonly unserved: number
  readonly dead: number
  readonly deadQueue: string
}

/**
 * Of a queue that is there, RabbitMQ compares this argument after all those that Twofold declares; of one that is not there, it refuses a value that
 * it does not know. So a declaration with it tells every difference, and makes nothing, whatever happens to the queue meanwhile.
 */
const LAST_ARGUMENT = 'x-queue-leader-locator'
const NO_VALUE_OF_IT = 'twofold-doctor-makes-nothing'

/** @throws TwofoldError BROKER_UNREACHABLE */
export function lookAtBroker(url: string): Promise<BrokerLook> {
  return connected(url, (connection) => {
    const properties = propertiesOf(connection)
    return Promise.resolve({ version: properties.version, fault: faultOf(properties) })
  })
}

/** @throws TwofoldError BROKER_UNREACHABLE, also where the user may not do what is needed with them */
export function lookAtQueues(url: string, names: QueueNames): Promise<QueuesLook> {
  return connected(url, async (connection) => {
    const topology = { ...names, waitingMax: 0 }
    const { partitionCount } = names
    await tryRights(connection, queueName(topology, partitionCount))
    const missing: string[] = []
    const different: string[] = []
    let [waiting, unserved] = [0, 0]
    const wanted = queueArguments(topology)
    const lanes = Array.from({ length: AT_ONCE }, async (_, lane) => {
      for (let partition = lane; partition < partitionCount; partition += AT_ONCE) {
        const name = queueName(topology, partition)
        const queue = await lookAtQueue(connection, name, wanted)
        if (queue === undefined) missing.push(name)
        if (queue?.different !== undefined) different.push(queue.different)
        waiting += queue?.messageCount ?? 0
        if (queue?.consumerCount === 0) unserved += 1
      }
    })
    await Promise.all(lanes)
    const deadQueue = deadQueueName(topology)
    const dead = await lookAtQueue(connection, deadQueue, DEAD_QUEUE_ARGUMENTS)
    if (dead?.different !== undefined) different.push(dead.different)
    return { missing, different, waiting, unserved, dead: dead?.messageCount ?? 0, deadQueue }
  })
}

interface QueueLook {
  readonly messageCount: number
  readonly consumerCount: number
  readonly different: string | undefined
}

/** Undefined: it is not there. */
async function lookAtQueue(connection: ChannelModel, name: string, wanted: QueueArguments): Promise<QueueLook | undefined> {
  let counts = { messageCount: 0, consumerCount: 0 }
  const failure = await onChannel(connection, async (channel) => (counts = await channel.checkQueue(name)))
  if (failure?.code === 404) return undefined
  if (failure !== undefined) throw failure
  const difference = await differenceOf(connection, name, wanted)
  return {
    ...counts,
    different: difference && `the queue '${name}' of RabbitMQ is not as Twofold makes it (${saidDifference(difference)})`,
  }
}

async function differenceOf(
  connection: ChannelModel,
  name: string,
  wanted: QueueArguments,
  hasOwnBound = false,
): Promise<Difference | undefined> {
  const failure = await declareInVain(connection, name, wanted)
  const difference = failure && differenceIn(failure.message)
  switch (difference?.argument) {
    case undefined:
      return undefined
    case LAST_ARGUMENT:
      return difference.current === undefined ? undefined : { ...difference, wanted: undefined }
    // Its bound may be any, and hides what is compared after it.
    case 'x-max-length':
      return hasOwnBound ? difference : differenceOf(connection, name, withBound(wanted, difference.current), true)
    default:
      return difference
  }
}

/** What RabbitMQ says of it: a difference, or that nothing can be made so. */
async function declareInVain(connection: ChannelModel, name: string, wanted: QueueArguments): Promise<Error | undefined> {
  const options = { durable: true, arguments: { ...wanted, [LAST_ARGUMENT]: NO_VALUE_OF_IT } }
  const failure = await onChannel(connection, (channel) => channel.assertQueue(name, options))
  if (failure !== undefined && failure.code !== 406) throw failure
  return failure
}

/** Tries what an instance does on a queue that is never there: rights are looked at first. Rejects with what the broker refuses. */
async function tryRights(connection: ChannelModel, nowhere: string): Promise<void> {
  await declareInVain(connection, nowhere, {})
  const read = await onChannel(connection, (channel) => channel.get(nowhere))
  if (read !== undefined && read.code !== 404) throw read
  const channel = await connection.createConfirmChannel()
  const refused = new Promise<never>((_, reject) => channel.on('error', reject))
  // What nobody is to get is dropped by the broker.
  channel.publish('', nowhere, Buffer.alloc(0))
  await Promise.race([channel.waitForConfirms(), refused])
  await channel.close()
}

async function connected<Result>(url: string, use: (connection: ChannelModel) => Promise<Result>): Promise<Result> {
  let connection: ChannelModel | undefined
  try {
    connection = await connect(url, { timeout: CONNECT_MS_MAX, clientProperties: { connection_name: 'twofold doctor' } })
    connection.on('error', () => undefined)
    return await use(connection)
  } catch (error) {
    throw rabbitMqFault(error, url)
  } finally {
    await connection?.close().catch(() => undefined)
  }
}
