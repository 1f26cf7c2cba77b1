// What has to be at the broker: as it is made, where it is otherwise, and when somebody takes it away.
import { connect, type ChannelModel } from 'amqplib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { proxyTo } from '../../../test/support/proxy.ts'
import { amqpUrl, hasRabbitMq, removeQueues } from '../../../test/support/rabbitmq.ts'
import type { CarriedMessage, CarrierContext, OpenCarrier } from '../../ports/carrier.ts'
import { eventually } from '../../testing/conformance/eventually.ts'
import { faultOf } from './broker.ts'
import { lookAtBroker } from './look.ts'
import { rabbitmqCarrier, type RabbitMqOptions } from './rabbitmq-carrier.ts'
import { queueName } from './topology.ts'

const warnings: string[] = []

const context: CarrierContext = {
  app: `topology-${process.pid}`,
  databaseId: '0123abcd',
  partitionCount: 8,
  instanceId: 'instance-0',
  leaseMs: 20_000,
  waitingMax: 16_000,
  carriedMsMax: 60_000,
  warn: (fields, message) => warnings.push(`${message} ${JSON.stringify(fields)}`),
}

const queue = queueName(context, 0)
const message = (body: string, partition = 0): CarriedMessage => ({ id: body, partition, key: body, body })

test('a broker that is too old, or is another one, is told with the way out', () => {
  const names = ['publisher_confirms', 'basic.nack', 'consumer_cancel_notify', 'direct_reply_to', 'per_consumer_qos']
  const capabilities = Object.fromEntries(names.map((name) => [name, true]))
  for (const version of ['3.10.0', '3.13.7', '4.0.1', '10.0.0']) expect(faultOf({ version, capabilities }), version).toBeUndefined()
  for (const version of ['3.9.29', '2.99.0', '3.8']) expect(faultOf({ version, capabilities })?.advice).toBe('use RabbitMQ 3.10 or newer')
  expect(faultOf({ version: '4.0.1', capabilities: { ...capabilities, direct_reply_to: false } })?.found).toBe('lacks direct_reply_to')
  expect(faultOf({ version: '4.0.1' })?.advice).toBe('use RabbitMQ itself')
})

describe.runIf(await hasRabbitMq('its topology'))('what is at RabbitMQ', () => {
  const opened = new Set<{ close(): Promise<void> }>()
  let operator: ChannelModel

  beforeEach(async () => {
    operator = await connect(amqpUrl)
    operator.on('error', () => undefined)
    warnings.length = 0
  })
  afterEach(async () => {
    await Promise.all([...opened].map((each) => each.close()))
    opened.clear()
    await operator.close()
    await removeQueues(context)
  })

  async function open(given: Partial<CarrierContext> = {}, url = amqpUrl, options: RabbitMqOptions = {}): Promise<OpenCarrier> {
    const carrier = await rabbitmqCarrier(url, options).open({ ...context, ...given })
    opened.add(carrier)
    return carrier
  }

  async function remove(): Promise<void> {
    const channel = await operator.createChannel()
    await channel.deleteQueue(queue)
    await channel.close()
  }

  /** Undefined: it is not there. */
  async function consumersOf(name: string): Promise<number | undefined> {
    const channel = await operator.createChannel()
    channel.on('error', () => undefined)
    const found = await channel.checkQueue(name).catch(() => undefined)
    if (found !== undefined) await channel.close()
    return found?.consumerCount
  }

  test('a queue is made so that it keeps everything: any other argument would be another queue', async () => {
    await open()
    const channel = await operator.createChannel()
    const wanted = {
      'x-queue-type': 'quorum',
      'x-single-active-consumer': true,
      'x-delivery-limit': 1_000_000_000,
      'x-max-length': 2000,
      'x-overflow': 'reject-publish',
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': `${context.app}.commands.0123abcd.dead`,
      'x-dead-letter-strategy': 'at-least-once',
    }
    // The broker itself compares, and refuses what differs.
    await channel.assertQueue(queue, { durable: true, arguments: wanted })
    await channel.close()
  })

  test('a queue that is there otherwise stops the start, and is named', async () => {
    const channel = await operator.createChannel()
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'classic' } })
    await channel.close()
    await expect(open()).rejects.toMatchObject({
      code: 'INVALID_TOPOLOGY',
      message: expect.stringMatching(
        new RegExp(`the queue '${queue}' of RabbitMQ is not as Twofold makes it .*remove it once it is empty`),
      ),
    })
  })

  test('a command whose queue was removed is not told to be taken, and the queue is made again', async () => {
    const carrier = await open()
    await carrier.publish(message('one'))
    await remove()
    await expect(carrier.publish(message('two'))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/somebody has removed it; it is made again: nothing was taken/),
    })
    const isTaken = (): Promise<boolean> =>
      carrier.publish(message('three')).then(
        () => true,
        () => false,
      )
    await eventually('commands are taken again', isTaken, 5000)
    const got: string[] = []
    await carrier.consume(0, (delivery) => (got.push(delivery.body), delivery.done()), 10)
    await eventually('it is delivered', () => got.includes('three'), 5000)
    expect(got.every((body) => body === 'three')).toBe(true)
    expect(warnings.filter((each) => each.startsWith(`the queue '${queue}' of RabbitMQ was removed`))).toHaveLength(1)
  })

  test('a queue that is removed while it is consumed is made again, and consumed', async () => {
    const carrier = await open()
    const got: string[] = []
    await carrier.consume(0, (delivery) => (got.push(delivery.body), delivery.done()), 10)
    await remove()
    await eventually('it is there, and consumed', async () => (await consumersOf(queue)) === 1, 5000)
    await carrier.publish(message('one'))
    await eventually('it is delivered', () => got.includes('one'), 5000)
    expect(warnings).toContainEqual(expect.stringMatching(/was removed while this app runs: commands that waited in it are lost/))
  })

  test('more partitions than a connection has room for are consumed on several', async () => {
    const url = new URL(amqpUrl)
    // The fewest with which three of eight partitions fit.
    url.searchParams.set('channelMax', '20')
    await expect(open({}, url.href)).rejects.toMatchObject({
      code: 'INVALID_TOPOLOGY',
      message: 'RabbitMQ allows 20 channels on a connection, and this app needs 25: set channel_max in rabbitmq.conf to that or more',
    })
    const carrier = await open({}, url.href, { partitionsPerConnection: 3 })
    const got: string[] = []
    const partitions = Array.from({ length: context.partitionCount }, (_, at) => at)
    for (const partition of partitions) await carrier.consume(partition, (delivery) => (got.push(delivery.body), delivery.done()), 10)
    for (const partition of partitions) await carrier.publish(message(`${partition}`, partition))
    await eventually('all are delivered', () => got.length === partitions.length, 5000)
    expect(got.toSorted()).toEqual(partitions.map(String))
    for (const partition of partitions) await carrier.release(partition)
    expect(await carrier.waiting(partitions)).toEqual(new Map(partitions.map((partition) => [partition, 0])))
  })

  test('a broker that is too old stops the start', async () => {
    const { version } = await lookAtBroker(amqpUrl)
    const old = `3.${'0'.repeat(version.length - 2)}`
    const proxy = await proxyTo(amqpUrl, { rewrite: (answer) => Buffer.from(answer.toString('latin1').replace(version, old), 'latin1') })
    try {
      await expect(open({}, proxy.url)).rejects.toMatchObject({
        code: 'INVALID_TOPOLOGY',
        message: `RabbitMQ ${old} is too old: use RabbitMQ 3.10 or newer`,
      })
    } finally {
      await proxy.close()
    }
  })

  test('a broker that is away at the start is a sentence, or is waited for where it may be away', async () => {
    const proxy = await proxyTo(amqpUrl)
    await proxy.cut()
    try {
      await expect(open({}, proxy.url)).rejects.toMatchObject({
        code: 'BROKER_UNREACHABLE',
        message: expect.stringMatching(/^RabbitMQ does not answer at .*: start it, correct AMQP_URL, or .*TWOFOLD_WHEN_AWAY=log/),
      })
      const carrier = await open({ mayBeAway: true }, proxy.url)
      expect(carrier.isAway).toBe(true)
      await expect(carrier.publish(message('early'))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      const got: string[] = []
      await carrier.consume(0, (delivery) => (got.push(delivery.body), delivery.done()), 10)
      await proxy.restore()
      await eventually('commands are taken', () => !carrier.isAway, 8000)
      await carrier.publish(message('one'))
      await eventually('they are delivered', () => got.length === 1, 8000)
    } finally {
      await proxy.close()
    }
  })

  test('a broker that lets nobody in is a sentence, also where it may be away', async () => {
    const url = new URL(amqpUrl)
    url.password = 'wrong'
    await expect(open({ mayBeAway: true }, url.href)).rejects.toMatchObject({
      code: 'BROKER_UNREACHABLE',
      message: expect.stringMatching(/does not take user '.*' with this password/),
    })
  })

  test('what comes up late is checked as well: while it is otherwise it takes nothing, and says why', async () => {
    const channel = await operator.createChannel()
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'classic' } })
    const proxy = await proxyTo(amqpUrl)
    await proxy.cut()
    try {
      const carrier = await open({ mayBeAway: true }, proxy.url)
      await proxy.restore()
      await eventually('it says why', () => warnings.some((each) => each.includes('is not as Twofold makes it')), 8000)
      expect(carrier.isAway).toBe(true)
      await channel.deleteQueue(queue)
      await channel.close()
      await eventually('commands are taken', () => !carrier.isAway, 15_000)
    } finally {
      await proxy.close()
    }
  })
})
