// What happens when connections or single channels to RabbitMQ are lost, or the broker does not answer on them.
import { connect, type ChannelModel } from 'amqplib'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { aroundNextClose, breakChannel, watchChannels } from '../../../test/support/broker-channels.ts'
import { proxyTo, type Proxy } from '../../../test/support/proxy.ts'
import { amqpUrl, hasRabbitMq, removeQueues } from '../../../test/support/rabbitmq.ts'
import { within } from '../../../test/support/within.ts'
import type { CarriedMessage, CarrierContext, Delivery, OpenCarrier } from '../../ports/carrier.ts'
import { eventually } from '../../testing/conformance/eventually.ts'
import { closed } from './closed.ts'
import { Link, type LinkOptions } from './link.ts'
import { rabbitmqCarrier } from './rabbitmq-carrier.ts'
import { declareTopology } from './topology.ts'

const context: CarrierContext = {
  app: `losses-${process.pid}`,
  databaseId: '0123abcd',
  partitionCount: 2,
  instanceId: 'instance-0',
  leaseMs: 20_000,
  waitingMax: 2000,
  carriedMsMax: 60_000,
  warn: () => undefined,
}

const message = (body: string, partition = 0): CarriedMessage => ({ id: body, partition, key: body, body })
const never = (): Promise<void> => new Promise(() => undefined)

describe.runIf(await hasRabbitMq('what happens when it is lost'))('with RabbitMQ lost and found again', () => {
  let proxy: Proxy
  const opened = new Set<{ close(): Promise<void> }>()

  beforeEach(async () => {
    proxy = await proxyTo(amqpUrl)
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    await Promise.all([...opened].map((each) => each.close().catch(() => undefined)))
    opened.clear()
    await proxy.close().catch(() => undefined)
    await removeQueues(context)
  })

  async function open(url = amqpUrl): Promise<OpenCarrier> {
    const carrier = await rabbitmqCarrier(url).open(context)
    opened.add(carrier)
    return carrier
  }

  async function connected(): Promise<ChannelModel> {
    const connection = await connect(proxy.url)
    connection.on('error', () => undefined)
    return connection
  }

  async function linked(options: Pick<LinkOptions, 'onUp' | 'upMsMax'>): Promise<Link> {
    const link = new Link({
      url: proxy.url,
      name: 'losses',
      heartbeatSeconds: 10,
      onDown: () => undefined,
      warn: () => undefined,
      ...options,
    })
    await link.start()
    return link
  }

  test('a channel whose connection dies before the broker has answered is closed', async () => {
    const channel = await (await connected()).createChannel()
    proxy.mute()
    const left = closed(channel)
    await proxy.cut()
    await within('the channel is closed', left, 1500)
  })

  test('a channel that the broker says nothing of is not waited for', async () => {
    const channel = await (await connected()).createChannel()
    proxy.freeze()
    await within('the channel is left', closed(channel), 5000)
  })

  test('a partition is released while its connection dies, and consumed again on the next one', async () => {
    const carrier = await open(proxy.url)
    await carrier.publish(message('one'))
    const got: Delivery[] = []
    await carrier.consume(0, (delivery) => got.push(delivery), 10)
    await eventually('it is delivered', () => got.length === 1)
    proxy.mute()
    const released = carrier.release(0)
    await proxy.cut()
    await within('the partition is released', released, 1500)
    await proxy.restore()
    await carrier.consume(0, (delivery) => got.push(delivery), 10)
    await eventually('it is delivered again', () => got.length === 2)
    got[1]?.done()
  })

  test('who consumes is told that a new connection begins before anything comes on it', async () => {
    const carrier = await open(proxy.url)
    const got: string[] = []
    await carrier.consume(
      0,
      ({ body }) => got.push(body),
      10,
      () => got.push('anew'),
    )
    for (const body of ['one', 'two']) await carrier.publish(message(body))
    await eventually('they are delivered', () => got.includes('two'))
    await proxy.cut()
    await proxy.restore()
    await eventually('they are delivered again', () => got.filter((body) => body === 'two').length === 2, 8000)
    expect(got).toEqual(['anew', 'one', 'two', 'anew', 'one', 'two'])
  })

  test('queues that are being declared hold nobody up when the connection dies', async () => {
    const connection = await connected()
    await aroundNextClose(
      () => proxy.mute(),
      () => void proxy.cut(),
    )
    const declared = declareTopology(connection, context, () => undefined)
    await expect(within('declaring ends', declared)).rejects.not.toThrow(/in vain/)
  })

  test('a connection that does not get ready is given up, and the next one is made', async () => {
    let count = 0
    const link = await linked({ upMsMax: 200, onUp: () => ((count += 1) === 2 ? never() : Promise.resolve()) })
    opened.add(link)
    await proxy.cut()
    await proxy.restore()
    await eventually('it is up again', () => link.isUp && count === 3, 8000)
  })

  test('whoever stops does not wait for a connection that does not get ready', async () => {
    let count = 0
    const link = await linked({ onUp: () => ((count += 1) === 1 ? Promise.resolve() : never()) })
    await proxy.cut()
    await proxy.restore()
    await eventually('the next one is being made ready', () => count === 2, 8000)
    await within('it is closed', link.close())
  })

  test('whoever makes a connection ready is told when it is given up', async () => {
    const signals: AbortSignal[] = []
    const link = await linked({
      upMsMax: 100,
      onUp: (_, signal) => (signals.push(signal) === 2 ? never() : Promise.resolve()),
    })
    opened.add(link)
    await proxy.cut()
    await proxy.restore()
    await eventually('it is up again', () => link.isUp && signals.length === 3, 8000)
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true, false])
  })

  test('when the broker closes the channel that publishes, another one publishes', async () => {
    const { publishing } = await watchChannels()
    const carrier = await open()
    await carrier.publish(message('before'))
    breakChannel(publishing[0])
    await eventually('it is noticed', () => carrier.isAway)
    await eventually('commands are taken again', () => !carrier.isAway, 5000)
    await carrier.publish(message('after'))
    expect(publishing.length).toBe(2)
  })

  test('when the broker closes the channel of replies, replies come by another one', async () => {
    const { others } = await watchChannels()
    const carrier = await open()
    // It is the last one that is opened before anything is consumed.
    const replies = others.at(-1)
    await carrier.consume(0, (delivery) => delivery.done(`re: ${delivery.body}`), 10)
    const isClosed = new Promise<void>((resolve) => void replies?.once('close', resolve))
    breakChannel(replies)
    await isClosed
    await eventually(
      'a reply comes',
      async () => {
        const reply = await carrier.request?.(message(`${Math.random()}`), AbortSignal.timeout(300)).catch(() => 'none')
        return reply?.startsWith('re: ') === true
      },
      5000,
    )
  })

  test('one that is closed opens nothing again, and says nothing', async () => {
    const warn = vi.fn<CarrierContext['warn']>()
    const carrier = await rabbitmqCarrier(amqpUrl).open({ ...context, warn })
    await carrier.consume(0, () => undefined, 10)
    await carrier.close()
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(warn).not.toHaveBeenCalled()
  })

  test('connections that are dropped are lost in that moment, and made anew', async () => {
    const carrier = await open()
    const got: Delivery[] = []
    await carrier.publish(message('one'))
    await carrier.consume(0, (delivery) => got.push(delivery), 10)
    await eventually('it is delivered', () => got.length === 1)
    const underWay = carrier.publish(message('two'))
    // In the turn after the next one it is out, see `dropSoon`.
    await new Promise(setImmediate)
    await new Promise(setImmediate)
    carrier.drop?.()
    got[0]?.done()
    await expect(underWay).rejects.toMatchObject({ code: 'IN_DOUBT', message: expect.stringContaining('may have been taken') })
    await eventually('commands are taken again', () => !carrier.isAway, 5000)
    await carrier.publish(message('three'))
    await eventually('what is not done comes again', () => got.length === 4, 5000)
    expect(got.slice(1).map(({ body }) => body)).toEqual(['one', 'two', 'three'])
  })

  test('a message that the broker refuses though its queue is not full is in doubt', async () => {
    const { publishing } = await watchChannels()
    const carrier = await open()
    const taken = carrier.publish(message('one'))
    publishing[0]?.emit('nack', { deliveryTag: 1, multiple: false })
    await expect(taken).rejects.toMatchObject({ code: 'IN_DOUBT', message: expect.stringContaining('may have been taken') })
  })
})
