// What has to be at the broker: a quorum queue for each partition, and one for what it cannot keep in them. Declared at each start, which changes
// nothing where it is there; where it is there otherwise, the start says how.
import type { Channel, ChannelModel } from 'amqplib'
import { TwofoldError } from '../../errors.ts'
import { closed } from './closed.ts'
import { differenceIn, saidDifference } from './difference.ts'

/** The broker counts deliveries too, and would drop a command: attempts are counted in our rows, so it must never come to that. */
const DELIVERIES_MAX = 1_000_000_000

/** A queue's own bound is never below this, however small its share of all. */
const QUEUE_LENGTH_MIN = 1000

/** So many queues are declared at a time: each makes the broker's members agree. */
const AT_ONCE = 8

export interface Topology {
  readonly app: string
  readonly databaseId: string
  readonly partitionCount: number
  readonly waitingMax: number
}

/** What the queues of an app are named by. */
export type QueueNames = Pick<Topology, 'app' | 'databaseId' | 'partitionCount'>

/**
 * The database is part of it: its outcomes say what has run, so no other one may take these commands. So is the number of partitions: with another
 * number the same key would be in another queue.
 */
export function queueName({ app, databaseId, partitionCount }: QueueNames, partition: number): string {
  return `${app}.commands.${databaseId}.${partitionCount}.${partition}`
}

export function deadQueueName({ app, databaseId }: Pick<QueueNames, 'app' | 'databaseId'>): string {
  return `${app}.commands.${databaseId}.dead`
}

/** How many may wait in each queue: its share of all. */
export function queueLengthMax({ waitingMax, partitionCount }: Pick<Topology, 'waitingMax' | 'partitionCount'>): number {
  return Math.max(QUEUE_LENGTH_MIN, Math.ceil(waitingMax / Math.max(1, partitionCount)))
}

/** An integer that is larger than JavaScript's is written as amqplib has it. */
export type QueueArguments = Readonly<Record<string, string | number | boolean | { readonly '!': 'int64'; readonly value: string }>>

/** What the queue of dead letters is declared with. */
export const DEAD_QUEUE_ARGUMENTS: QueueArguments = { 'x-queue-type': 'quorum' }

/** What the queue of a partition is declared with. */
export function queueArguments(topology: Topology): QueueArguments {
  return {
    'x-queue-type': 'quorum',
    'x-single-active-consumer': true,
    'x-delivery-limit': DELIVERIES_MAX,
    'x-max-length': queueLengthMax(topology),
    'x-overflow': 'reject-publish',
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': deadQueueName(topology),
    'x-dead-letter-strategy': 'at-least-once',
  }
}

/** Declares what is missing. Resolves to the bounds of queues that keep another one, by their names. @throws TwofoldError INVALID_TOPOLOGY */
export async function declareTopology(
  connection: ChannelModel,
  topology: Topology,
  warn: (message: string) => void,
): Promise<ReadonlyMap<string, number>> {
  const otherBounds = new Map<string, number>()
  await declare(connection, deadQueueName(topology), DEAD_QUEUE_ARGUMENTS, warn)
  const partitions = Array.from({ length: topology.partitionCount }, (_, partition) => partition)
  const lanes = Array.from({ length: AT_ONCE }, async (_, lane) => {
    for (const partition of partitions) {
      if (partition % AT_ONCE !== lane) continue
      const bound = await declareQueue(connection, topology, partition, warn)
      if (bound !== undefined) otherBounds.set(queueName(topology, partition), bound)
    }
  })
  const failed = (await Promise.allSettled(lanes)).find((lane) => lane.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return otherBounds
}

/** Declares one partition's queue, which somebody has removed. Resolves to its bound where it is another one. @throws TwofoldError INVALID_TOPOLOGY */
export function declareQueue(
  connection: ChannelModel,
  topology: Topology,
  partition: number,
  warn: (message: string) => void,
): Promise<number | undefined> {
  return declare(connection, queueName(topology, partition), queueArguments(topology), warn)
}

/** Resolves to the queue's own bound where it is another one. */
async function declare(
  connection: ChannelModel,
  name: string,
  wanted: QueueArguments,
  warn: (message: string) => void,
  hasOwnBound = false,
): Promise<number | undefined> {
  const failure = await onChannel(connection, (channel) => channel.assertQueue(name, { durable: true, arguments: wanted }))
  if (failure === undefined) return undefined
  const { code, message } = failure
  if (code !== 406) throw failure
  const difference = differenceIn(message)
  // Its own bound may be another: it keeps what it was made with. That is the first difference alone, so the rest is asked for once more.
  if (difference?.argument === 'x-max-length' && !hasOwnBound) {
    const { current = 'any number of', wanted: given = 'any number of' } = difference
    await declare(connection, name, withBound(wanted, difference.current), warn, true)
    warn(`the queue '${name}' takes ${current} commands and not ${given}, as it was made with; remove it while it is empty to change that`)
    return Number.isNaN(Number(current)) ? Infinity : Number(current)
  }
  const reason = difference === undefined ? message : saidDifference(difference)
  throw new TwofoldError(
    'INVALID_TOPOLOGY',
    `the queue '${name}' of RabbitMQ is not as Twofold makes it (${reason}): remove it once it is empty, or give this app another name`,
    { cause: failure },
  )
}

/** Asks for the bound that a queue has; undefined: for none. */
export function withBound({ 'x-max-length': _, ...others }: QueueArguments, bound: string | undefined): QueueArguments {
  return bound === undefined ? others : { ...others, 'x-max-length': { '!': 'int64', value: bound } }
}

/** The broker closes a channel on which something fails, so each gets one of its own. */
export async function onChannel(
  connection: ChannelModel,
  use: (channel: Channel) => Promise<unknown>,
): Promise<(Error & { readonly code?: number }) | undefined> {
  const channel = await connection.createChannel()
  channel.on('error', () => undefined)
  try {
    await use(channel)
    await closed(channel)
    return undefined
  } catch (error) {
    return error as Error & { readonly code?: number }
  }
}
