// Confirmations that do not come, and replies that come too late.
import { connect, type ChannelModel } from 'amqplib'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { watchChannels } from '../../../test/support/broker-channels.ts'
import { amqpUrl, hasRabbitMq, removeQueues } from '../../../test/support/rabbitmq.ts'
import type { CarriedMessage } from '../../ports/carrier.ts'
import { within } from '../../../test/support/within.ts'
import { eventually } from '../../testing/conformance/eventually.ts'
import { FullQueues } from './full-queues.ts'
import { Publisher } from './publisher.ts'
import { declareTopology, queueName } from './topology.ts'

const topology = { app: `publisher-${process.pid}`, databaseId: '0123abcd', partitionCount: 2, waitingMax: 2000 }
const queueOf = (partition: number): string => queueName(topology, partition)
let sent = 0

function message(partition: number): CarriedMessage {
  sent += 1
  return { id: `${sent}`, partition, key: '', body: '' }
}

describe.runIf(await hasRabbitMq('what it does not confirm'))('what RabbitMQ does not confirm', () => {
  let connection: ChannelModel
  let publisher: Publisher
  const stuck = vi.fn<(reason: string) => void>()
  const debug = vi.fn<(fields: object, message: string) => void>()

  /** Confirmations of these partitions are kept from the publisher, as by a queue whose members do not agree. */
  const silent = new Set<number>()

  beforeEach(async () => {
    vi.clearAllMocks()
    silent.clear()
    const { publishing } = await watchChannels()
    connection = await connect(amqpUrl)
    await declareTopology(connection, topology, () => undefined)
    const isFull = (): Promise<boolean> => Promise.resolve(true)
    const missing = (): Promise<void> => Promise.resolve()
    publisher = new Publisher({ queueOf, bytesMax: 1000, stuck, isFull, missing, warn: () => undefined, debug, confirmMsMax: 300 })
    await publisher.open(connection, new AbortController().signal)
    const [channel] = publishing
    const send = channel?.sendToQueue.bind(channel)
    channel!.sendToQueue = (queue, content, options, callback) => {
      const isSilent = [...silent].some((partition) => queueOf(partition) === queue)
      return send!(queue, content, options, isSilent ? undefined : callback)
    }
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    publisher.close()
    await connection.close()
    await removeQueues(topology)
  })

  test('a queue that does not confirm holds up its own partition alone', async () => {
    silent.add(0)
    const lost = publisher.publish(message(0)).catch((error: unknown) => error)
    const others = setInterval(() => void publisher.publish(message(1)), 20)
    const error = await within('it is given up', lost).finally(() => clearInterval(others))
    expect(error).toMatchObject({ code: 'IN_DOUBT', message: expect.stringContaining('may have been taken') })
    await expect(publisher.publish(message(0))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('nothing was taken'),
    })
    await publisher.publish(message(1))
    expect(stuck).not.toHaveBeenCalled()
    silent.clear()
    await eventually(
      'its partition is tried again',
      () =>
        publisher.publish(message(0)).then(
          () => true,
          () => false,
        ),
      5000,
    )
  })

  test('where nothing at all is confirmed the connection is given up', async () => {
    silent.add(0).add(1)
    const failed = Promise.allSettled([publisher.publish(message(0)), publisher.publish(message(1))])
    await eventually('it is given up', () => stuck.mock.calls.length > 0, 5000)
    publisher.lost()
    expect((await failed).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  })

  test('a reply that comes too late is told, with how many there were', async () => {
    const abort = new AbortController()
    const asked = message(0)
    let isConfirmed = false
    const request = publisher.request(asked, abort.signal, () => (isConfirmed = true)).catch(() => 'given up')
    await eventually('it is confirmed', () => isConfirmed)
    abort.abort(new Error('too long'))
    expect(await request).toBe('given up')
    const channel = await connection.createChannel()
    await channel.consume(queueOf(0), (got) => {
      channel.sendToQueue(got?.properties.replyTo as string, Buffer.from('late'), { correlationId: asked.id })
    })
    await eventually('it is told', () => debug.mock.calls.length > 0, 5000)
    expect(debug.mock.calls[0]?.[0]).toEqual({ id: asked.id, count: 1 })
  })

  test('a connection that was given up meanwhile is not published on', async () => {
    const late = new Publisher({
      queueOf,
      bytesMax: 1000,
      stuck,
      isFull: () => Promise.resolve(false),
      missing: () => Promise.resolve(),
      warn: () => undefined,
      debug,
    })
    await expect(late.open(connection, AbortSignal.abort(new Error('given up')))).rejects.toThrow('given up')
    expect(late.isAway).toBe(true)
    late.close()
  })
})

test('a queue is full near its bound, and not known to be where it cannot be asked', async () => {
  const lengths: (number | undefined)[] = [1000, 799, undefined]
  const full = new FullQueues(
    (partition) => Promise.resolve(lengths[partition]),
    () => 1000,
  )
  expect(await Promise.all([0, 1, 2].map((partition) => full.isFull(partition)))).toEqual([true, false, false])
})
