// What happens when connections or the broker are lost: against a node of this file's own, behind a proxy, which alone is ever taken away.
import { deleteTopicsV6 } from '@platformatic/kafka'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { within } from '../../../test/support/within.ts'
import { contextOf, numbers, publish, publishAll, quiet, Sink, until } from '../../../test/brokers/kafka/fixture.ts'
import { hasKafkaNode } from '../../../test/brokers/kafka/for-tests.ts'
import { backSoon, startKafka, type KafkaNode } from '../../../test/brokers/kafka/node.ts'
import { freePort } from '../../../test/support/free-port.ts'
import { proxyTo, type Proxy } from '../../../test/support/proxy.ts'
import type { CarrierContext, OpenCarrier } from '../../ports/carrier.ts'
import { clusterOf, kafkaCarrier } from './carrier.ts'
import type { Cluster } from './cluster.ts'
import { committedOffsets } from './offsets.ts'
import { requests } from './protocol.ts'

let node: KafkaNode
let proxy: Proxy
let brokers: string[]
const opened = new Set<{ close(): Promise<void> }>()

async function open(context: CarrierContext = contextOf(), limits = {}): Promise<OpenCarrier> {
  const carrier = await kafkaCarrier({ brokers, requestMsMax: 1_000, publishMsMax: 4_000, ...limits }).open(context)
  opened.add(carrier)
  return carrier
}

/** The topic, seen from outside of the carrier. */
async function look(context: CarrierContext): Promise<Cluster> {
  const cluster = clusterOf({ brokers }, context)
  opened.add(cluster)
  await cluster.refresh()
  return cluster
}

/** Cuts the broker off, until what is returned is called for the first time. */
async function cut(): Promise<() => Promise<void>> {
  await proxy.cut()
  let restored: Promise<void> | undefined
  return () => (restored ??= proxy.restore())
}

describe.skipIf(!hasKafkaNode)('with Kafka lost and found again', () => {
  beforeAll(async () => {
    const port = await freePort()
    proxy = await proxyTo(`tcp://127.0.0.1:${port}`)
    node = await startKafka({ port, advertisedPort: Number(new URL(proxy.url).port), settings: backSoon })
    brokers = [node.brokers]
  }, 180_000)

  afterAll(async () => {
    await node?.stop()
    await proxy?.close()
  }, 30_000)

  afterEach(async () => {
    await Promise.all([...opened].map((each) => each.close()))
    opened.clear()
  })

  test('publishing goes on through lost connections: in order, each once', async () => {
    const carrier = await open(contextOf(), { publishMsMax: 20_000 })
    const sent: Promise<void>[] = []
    for (const round of numbers(0, 6)) {
      for (const each of numbers(round * 100, round * 100 + 100)) sent.push(publish(carrier, String(each)))
      // Somewhere in the middle of what is under way.
      await new Promise((resolve) => setTimeout(resolve, round * 2))
      await proxy.cut()
      await proxy.restore()
    }
    await within('all of them are confirmed', Promise.all(sent), 14_000)
    const sink = new Sink(true)
    await carrier.consume(0, sink.deliver, 1_000)
    await sink.has(600)
    await quiet()
    expect(sink.bodies).toEqual(numbers(0, 600).map(String))
  })

  test('what is confirmed outlives a broker that is killed, and what comes later lies behind it', async () => {
    const carrier = await open(contextOf(), { publishMsMax: 30_000 })
    const sink = new Sink(true)
    await publishAll(carrier, 0, 500)
    const during = publishAll(carrier, 500, 600)
    await node.kill()
    await node.start()
    await during
    await until(() => !carrier.isAway)
    await publishAll(carrier, 600, 700)
    await carrier.consume(0, sink.deliver, 1_000)
    await sink.has(700)
    expect(sink.bodies).toEqual(numbers(0, 700).map(String))
  }, 90_000)

  test('a message in doubt makes nobody lose the next one', async () => {
    const carrier = await open(contextOf(), { publishMsMax: 500 })
    await publish(carrier, 'before')
    proxy.mute()
    await expect(publish(carrier, 'in doubt')).rejects.toMatchObject({ code: 'IN_DOUBT', message: expect.stringMatching(/not known/) })
    await until(() => !carrier.isAway)
    // With the number of the one in doubt the broker would take it for a repetition: confirmed, and never stored.
    await publish(carrier, 'after')
    const sink = new Sink(true)
    await carrier.consume(0, sink.deliver, 10)
    await until(() => sink.bodies.includes('after'))
    expect(sink.bodies).toEqual(['before', 'in doubt', 'after'])
  })

  test('publishing is refused at once while the broker is away, and goes on by itself', async () => {
    const carrier = await open(contextOf(), { publishMsMax: 60_000 })
    await proxy.cut()
    const waits = publish(carrier, 'waits')
    waits.catch(() => undefined)
    try {
      await until(() => carrier.isAway)
      const began = performance.now()
      await expect(publish(carrier, 'late')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      expect(performance.now() - began).toBeLessThan(1_000)
    } finally {
      await proxy.restore()
    }
    await until(() => !carrier.isAway)
    await waits
    await publish(carrier, 'again')
  })

  test('connections that are dropped lose nothing', async () => {
    const context = contextOf()
    const carrier = await open(context)
    const sink = new Sink()
    const first = publish(carrier, 'one')
    carrier.drop?.()
    await first
    await carrier.consume(0, sink.deliver, 10)
    await sink.has(1)
    carrier.drop?.()
    sink.deliveries[0]?.done()
    await publish(carrier, 'two')
    await sink.has(2)
    expect(sink.bodies).toEqual(['one', 'two'])
    const cluster = await look(context)
    await until(async () => (await committedOffsets(cluster, [0])).get(0) === 1)
  })

  test('consuming goes on through lost connections, and what is in hand stays so', async () => {
    const context = contextOf()
    const carrier = await open(context)
    const sink = new Sink()
    await publishAll(carrier, 0, 5)
    await carrier.consume(0, sink.deliver, 10)
    await sink.has(5)
    await proxy.cut()
    for (const delivery of sink.deliveries) delivery.done()
    await proxy.restore()
    await until(() =>
      publishAll(carrier, 5, 10).then(
        () => true,
        () => false,
      ),
    )
    await sink.has(10)
    expect(sink.bodies).toEqual(numbers(0, 10).map(String))
    const cluster = await look(context)
    await until(async () => (await committedOffsets(cluster, [0])).get(0) === 5)
  })

  test('consuming waits for a broker that is away', async () => {
    const context = contextOf()
    const carrier = await open(context)
    await publish(carrier, 'one')
    await proxy.cut()
    const sink = new Sink(true)
    try {
      await carrier.consume(0, sink.deliver, 10)
      await quiet()
    } finally {
      await proxy.restore()
    }
    await sink.has(1)
  })

  test('a Kafka that is away at the start is waited for where it may be', async () => {
    const restore = await cut()
    const context = contextOf({ mayBeAway: true })
    const sink = new Sink(true)
    try {
      await expect(open(contextOf())).rejects.toMatchObject({ code: 'BROKER_UNREACHABLE' })
      const carrier = await open(context)
      expect(carrier.isAway).toBe(true)
      await expect(publish(carrier, 'early')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      await carrier.consume(0, sink.deliver, 10)
      await restore()
      await until(() => !carrier.isAway, 15_000)
      await publish(carrier, 'one')
      await sink.has(1)
      expect(sink.bodies).toEqual(['one'])
    } finally {
      await restore()
    }
  }, 40_000)

  test('what comes up late is checked as well: while its topic is otherwise it takes nothing, and says why', async () => {
    const context = contextOf({ mayBeAway: true })
    const operator = await look(context)
    const topic = { name: operator.topic, numPartitions: 3, replicationFactor: 1, assignments: [], configs: [] }
    await operator.askAny(requests.createTopics, [topic], 5_000, false)
    const restore = await cut()
    try {
      const carrier = await open(context)
      await restore()
      await until(() => context.warnings.includes('Kafka answers, and cannot be used as it is; trying on'), 15_000)
      expect(carrier.isAway).toBe(true)
      await until(() =>
        operator.askAny(deleteTopicsV6.api, [{ name: operator.topic, topicId: null }], 5_000).then(
          () => true,
          () => false,
        ),
      )
      await until(() => !carrier.isAway, 15_000)
      await publish(carrier, 'one')
    } finally {
      await restore()
    }
  }, 40_000)
})
