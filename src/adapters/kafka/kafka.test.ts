// Against a real Kafka: the one that `KAFKA_BROKERS` names, or a node of this file's own.
import { randomUUID } from 'node:crypto'
import { deleteRecordsV2, deleteTopicsV6 } from '@platformatic/kafka'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { contextOf, numbers, publish, publishAll, quiet, Sink, until } from '../../../test/brokers/kafka/fixture.ts'
import { hasKafka, kafkaForTests, type KafkaForTests } from '../../../test/brokers/kafka/for-tests.ts'
import { freePort } from '../../../test/support/free-port.ts'
import type { CarrierContext, OpenCarrier } from '../../ports/carrier.ts'
import { clusterOf, kafkaCarrier } from './carrier.ts'
import { answerOf, type Cluster } from './cluster.ts'
import { kafkaFeatures } from './features.ts'
import { commitOffsets, committedOffsets } from './offsets.ts'
import { requests } from './protocol.ts'
import { topicName } from './topology.ts'

const HOUR_MS = 3_600_000
let kafka: KafkaForTests
const opened = new Set<{ close(): Promise<void> }>()

async function open(context: CarrierContext = contextOf()): Promise<OpenCarrier> {
  const carrier = await kafkaCarrier({ brokers: kafka.brokers }).open(context)
  opened.add(carrier)
  return carrier
}

/** The topic, seen from outside of the carrier. */
async function look(context: CarrierContext): Promise<Cluster> {
  const cluster = clusterOf({ brokers: kafka.brokers }, context)
  opened.add(cluster)
  await cluster.refresh()
  return cluster
}

describe.skipIf(!hasKafka)('Kafka', () => {
  beforeAll(async () => {
    kafka = await kafkaForTests()
  }, 180_000)

  afterAll(() => kafka?.stop(), 30_000)

  afterEach(async () => {
    await Promise.all([...opened].map((each) => each.close()))
    opened.clear()
  })

  describe('the topic', () => {
    test('is made with as many partitions as the app has, and keeps what may still be run', async () => {
      const context = contextOf({ partitionCount: 7 })
      await open(context)
      const cluster = await look(context)
      expect(cluster.topic).toBe(`${context.app}.commands.0123abcd.7`)
      expect(cluster.partitionCount).toBe(7)
      const asked = [{ resourceType: 2 as const, resourceName: cluster.topic, configurationKeys: null }]
      const { results } = await cluster.askAny(requests.describeConfigs, asked, false, false)
      const settings = new Map(results[0]?.configs.map(({ name, value }) => [name, value]))
      expect(settings.get('retention.ms')).toBe(String(23 * HOUR_MS))
      expect(settings.get('cleanup.policy')).toBe('delete')
      expect(settings.get('min.insync.replicas')).toBe('1')
      expect(context.warnings).toEqual([])
    })

    test('is made once by several that start at the same time', async () => {
      const context = contextOf()
      await Promise.all([open(context), open({ ...context, instanceId: 'two' }), open({ ...context, instanceId: 'three' })])
    })

    test.each([
      [{ numPartitions: 3 }, {}, /has 3 partitions, and this app has 4.*delete the topic/],
      [{}, { 'cleanup.policy': 'compact' }, /cleanup\.policy=compact, which drops commands.*set it to delete/],
      [{}, { 'max.message.bytes': '1000' }, /takes messages of 1000 bytes.*set max\.message\.bytes=/],
      [{}, { 'min.insync.replicas': '2' }, /min\.insync\.replicas=2 and is kept on 1 brokers/],
    ])('that would lose commands is refused in a sentence: %j %j', async (shape, settings, sentence) => {
      const context = contextOf()
      await makeTopic(context, shape, settings)
      await expect(open(context)).rejects.toMatchObject({ code: 'INVALID_TOPOLOGY', message: expect.stringMatching(sentence) })
    })

    test.each([
      [{ 'retention.ms': '60000' }, /deleted without having run; set retention\.ms=82800000/],
      [{ 'retention.ms': '-1' }, /keeps messages for ever.*set retention\.ms=82800000/],
      [{ 'retention.bytes': '1000000' }, /deletes what is over 1000000 bytes, run or not/],
    ])('that may lose commands some day is warned of: %j', async (settings, sentence) => {
      const context = contextOf()
      await makeTopic(context, {}, { 'retention.ms': '82800000', 'max.message.bytes': '8388608', ...settings })
      await open(context)
      expect(context.warnings).toEqual([expect.stringMatching(sentence)])
    })

    async function makeTopic(context: CarrierContext, shape: object, settings: Record<string, string>): Promise<void> {
      const configs = Object.entries(settings).map(([name, value]) => ({ name, value }))
      const name = topicName(context)
      const topic = { name, numPartitions: 4, replicationFactor: 1, assignments: [], configs, ...shape }
      await (await look(context)).askAny(requests.createTopics, [topic], 5_000, false)
    }
  })

  test('a broker that does not answer is one sentence', async () => {
    const started = kafkaCarrier({ brokers: [`127.0.0.1:${await freePort()}`] }).open(contextOf())
    await expect(started).rejects.toMatchObject({
      code: 'BROKER_UNREACHABLE',
      message: expect.stringMatching(
        /^Kafka does not answer at 127\.0\.0\.1:\d+ \(connect ECONNREFUSED.*\): start it, or set KAFKA_BROKERS/,
      ),
    })
  })

  describe('publishing', () => {
    test('keeps the order of the calls, whoever waits for what', async () => {
      const carrier = await open()
      const sink = new Sink(true)
      await publishAll(carrier, 0, 5_000)
      await carrier.consume(0, sink.deliver, 1_000)
      await sink.has(5_000)
      expect(sink.bodies).toEqual(numbers(0, 5_000).map(String))
    })

    test('carries a message of the largest size, and refuses a larger one', async () => {
      const carrier = await open()
      const room = kafkaFeatures.messageBytesMax - 100
      const sink = new Sink(true)
      await publish(carrier, 'x'.repeat(room))
      await expect(publish(carrier, 'x'.repeat(room + 200))).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' })
      await expect(publish(carrier, 'ä'.repeat(room / 2 + 200))).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' })
      await publish(carrier, 'ä😀\0')
      await carrier.consume(0, sink.deliver, 10)
      await sink.has(2)
      expect(sink.bodies[0]).toHaveLength(room)
      expect(sink.bodies[1]).toBe('ä😀\0')
    })

    test('is refused when too much waits, until it is done', async () => {
      const context = contextOf({ waitingMax: 100 })
      const carrier = await open(context)
      await publishAll(carrier, 0, 100)
      await expect(publish(carrier, 'one more')).rejects.toMatchObject({ code: 'BACKLOG_FULL' })
      const sink = new Sink(true)
      await carrier.consume(0, sink.deliver, 50)
      await sink.has(100)
      await until(() =>
        publish(carrier, 'now').then(
          () => true,
          () => false,
        ),
      )
    })

    test('closing waits for what is under way', async () => {
      const context = contextOf()
      const carrier = await open(context)
      const sent = publishAll(carrier, 0, 200)
      await carrier.close()
      await sent
      await expect(publish(carrier, 'late')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      const sink = new Sink(true)
      await (await open(context)).consume(0, sink.deliver, 1_000)
      await sink.has(200)
    })
  })

  test('a topic that is removed is made again and told of, and what it takes then is delivered from its beginning', async () => {
    const context = contextOf()
    const carrier = await open(context)
    const sink = new Sink(true)
    await publishAll(carrier, 0, 5)
    await carrier.consume(0, sink.deliver, 100)
    await sink.has(5)
    const cluster = await look(context)
    await until(async () => (await committedOffsets(cluster, [0])).get(0) === 5)
    await cluster.askAny(deleteTopicsV6.api, [{ name: cluster.topic, topicId: null }], 5_000)
    await until(() => context.warnings.some((each) => /was removed while this app runs: commands that waited in it are lost/.test(each)))
    // More than what was done of the former one: who went on from there would pass over them.
    for (const each of numbers(0, 20)) await publish(carrier, `new-${each}`)
    await sink.has(25)
    expect(sink.bodies.slice(5)).toEqual(numbers(0, 20).map((each) => `new-${each}`))
  })

  test('a topic that is made by somebody else in place of one that was removed is begun with its first message', async () => {
    const [context, others] = [contextOf(), contextOf()]
    const carrier = await open(context)
    const other = await open({ ...context, instanceId: 'two', warn: others.warn })
    const sink = new Sink()
    // So much lies here that no more is fetched: this one notices nothing while it does not go on.
    const large = 'x'.repeat(400 << 10)
    for (const each of numbers(0, 8)) await publish(carrier, `${each}${large}`)
    await carrier.consume(0, sink.deliver, 1)
    await sink.has(1)
    await quiet()
    const cluster = await look(context)
    await cluster.askAny(deleteTopicsV6.api, [{ name: cluster.topic, topicId: null }], 5_000)
    // The other one misses it first, makes it again, and puts more into it than was fetched of the former one.
    await until(async () => {
      await publish(other, 'elsewhere', 1).catch(() => undefined)
      return others.warnings.some((each) => /was removed while this app runs/.test(each))
    })
    for (const each of numbers(0, 20)) await publish(other, `new-${each}`)
    const seen = (): string[] => sink.bodies.filter((body) => body.startsWith('new-'))
    await until(() => {
      for (const delivery of sink.deliveries) delivery.done()
      return seen().length >= 20 || seen().includes('new-19')
    })
    expect(seen()).toEqual(numbers(0, 20).map((each) => `new-${each}`))
    expect(context.warnings).toContainEqual(expect.stringMatching(/was removed while this app runs/))
  })

  describe('consuming', () => {
    test('hands out no more than is allowed in hand, and goes on as it gets done', async () => {
      const carrier = await open()
      const sink = new Sink()
      await publishAll(carrier, 0, 50)
      await carrier.consume(0, sink.deliver, 10)
      await sink.has(10)
      await quiet()
      expect(sink.deliveries).toHaveLength(10)
      for (const delivery of sink.deliveries.slice(0, 4)) delivery.done()
      await sink.has(14)
      await quiet()
      expect(sink.deliveries).toHaveLength(14)
      for (let at = 4; at < 50; at += 1) {
        await sink.has(at + 1)
        sink.deliveries[at]?.done()
      }
      expect(sink.bodies).toEqual(numbers(0, 50).map(String))
    })

    test('what is not done goes to the next consumer, in order, whatever was done behind it', async () => {
      const context = contextOf()
      const [one, two] = [await open(context), await open({ ...context, instanceId: 'two' })]
      const [first, second] = [new Sink(), new Sink()]
      await publishAll(one, 0, 20)
      await one.consume(0, first.deliver, 100)
      await first.has(20)
      // 0 to 6 and 9: only the seven in front are done with.
      for (const at of [3, 1, 0, 2, 9, 6, 5, 4]) first.deliveries[at]?.done()
      await one.release(0)
      first.deliveries[7]?.done()
      await two.consume(0, second.deliver, 100)
      await second.has(13)
      expect(second.bodies).toEqual(numbers(7, 20).map(String))
      await publish(two, '20')
      await second.has(14)
      await quiet()
      expect(first.deliveries).toHaveLength(20)
    })

    test('what is done and not committed yet counts as in hand', async () => {
      const carrier = await open()
      const sink = new Sink(true)
      await publishAll(carrier, 0, 100)
      await carrier.consume(0, sink.deliver, 10)
      await sink.has(10)
      // Done at once, all in one turn of the event loop: only the commit, still to come, holds the others up.
      expect(sink.deliveries).toHaveLength(10)
      await sink.has(100)
    })

    test('says which messages may have been in the hands of a former owner, and of no others', async () => {
      const context = contextOf()
      const one = await open(context)
      const [first, second] = [new Sink(), new Sink(true)]
      await publishAll(one, 0, 100)
      await one.consume(0, first.deliver, 10)
      await first.has(10)
      for (const delivery of first.deliveries.slice(0, 5)) delivery.done()
      await first.has(15)
      await one.release(0)
      await one.consume(0, second.deliver, 10)
      await second.has(95)
      expect(second.deliveries.flatMap(({ body, redelivered }) => (redelivered ? [Number(body)] : []))).toEqual(numbers(5, 15))
    })

    test('is taken up again in the same process where it was given back', async () => {
      const context = contextOf()
      const carrier = await open(context)
      const [first, second] = [new Sink(), new Sink()]
      await publishAll(carrier, 0, 5)
      await carrier.consume(0, first.deliver, 10)
      await first.has(5)
      first.deliveries[0]?.done()
      await carrier.release(0)
      await carrier.consume(0, second.deliver, 10)
      await second.has(4)
      // Of the former time: it says nothing any more.
      for (const delivery of first.deliveries) delivery.done()
      await quiet()
      expect(await committedOffsets(await look(context), [0])).toEqual(new Map([[0, 1]]))
      await carrier.release(0)
      const third = new Sink()
      await carrier.consume(0, third.deliver, 10)
      await third.has(4, 8_000)
      expect(third.bodies).toEqual(['1', '2', '3', '4'])
    })

    test('a former owner that commits late makes nobody pass over a message', async () => {
      const context = contextOf()
      const carrier = await open(context)
      const [first, second] = [new Sink(true), new Sink(true)]
      const cluster = await look(context)
      await publishAll(carrier, 0, 30)
      await carrier.consume(0, first.deliver, 10)
      await first.has(30)
      await carrier.release(0)
      expect(await committedOffsets(cluster, [0])).toEqual(new Map([[0, 30]]))
      await commitOffsets(cluster, new Map([[0, 12]]))
      await carrier.consume(0, second.deliver, 10)
      await second.has(18)
      expect(second.bodies).toEqual(numbers(12, 30).map(String))
      await carrier.release(0)
      expect(await committedOffsets(cluster, [0])).toEqual(new Map([[0, 30]]))
    })

    test('goes on where the retention has deleted what was not run, and says how much that was', async () => {
      const context = contextOf()
      const carrier = await open(context)
      await publishAll(carrier, 0, 10)
      const cluster = await look(context)
      const leader = cluster.leaderOf(0) as number
      const topics = [{ name: cluster.topic, partitions: [{ partitionIndex: 0, offset: 4n }] }]
      await commitOffsets(cluster, new Map([[0, 1]]))
      await answerOf(cluster.ask('control', leader, deleteRecordsV2.api, topics, 1_000))
      const sink = new Sink(true)
      await carrier.consume(0, sink.deliver, 10)
      await sink.has(6)
      expect(sink.bodies).toEqual(numbers(4, 10).map(String))
      expect(context.warnings).toContainEqual(expect.stringMatching(/deleted 3 messages that were not run/))
    })

    test('an offset of a topic that was removed says nothing of its successor', async () => {
      const context = contextOf()
      const carrier = await open(context)
      await publishAll(carrier, 0, 10)
      const cluster = await look(context)
      const other = randomUUID()
      const offset = { partitionIndex: 0, committedOffset: 7n, committedLeaderEpoch: -1, committedMetadata: other }
      const topics = [{ name: cluster.topic, partitions: [offset] }]
      await cluster.askCoordinator(requests.offsetCommit, cluster.group, -1, '', null, topics)
      const sink = new Sink(true)
      await carrier.consume(0, sink.deliver, 10)
      await sink.has(10)
      expect(sink.bodies).toEqual(numbers(0, 10).map(String))
    })

    test('begins with the first message where more is committed than there is', async () => {
      const context = contextOf()
      const carrier = await open(context)
      await publishAll(carrier, 0, 3)
      await commitOffsets(await look(context), new Map([[0, 77]]))
      const sink = new Sink(true)
      await carrier.consume(0, sink.deliver, 10)
      await sink.has(3)
      expect(context.warnings).toContainEqual(expect.stringMatching(/fewer messages than were committed/))
    })

    test('hands over what is no command as it is', async () => {
      const context = contextOf()
      const carrier = await open(context)
      const cluster = await look(context)
      const { topic } = cluster
      const messages = [
        { topic, partition: 0, key: Buffer.from('k'), value: Buffer.from([0xff, 0xfe]) },
        { topic, partition: 0, key: undefined as unknown as Buffer, value: null as unknown as Buffer },
      ]
      // A topic that is as young as this one may have no leader yet.
      await until(() =>
        cluster.ask('control', cluster.leaderOf(0) as number, requests.produce, -1, 1_000, messages, { compression: 'none' }).then(
          () => true,
          () => false,
        ),
      )
      const sink = new Sink(true)
      await publish(carrier, 'behind')
      await carrier.consume(0, sink.deliver, 10)
      await sink.has(3)
      expect(sink.bodies).toEqual(['\ufffd\ufffd', '', 'behind'])
    })

    test('counts what waits, in hand included', async () => {
      const carrier = await open()
      const sink = new Sink()
      await publishAll(carrier, 0, 8, 1)
      await publishAll(carrier, 0, 3, 2)
      expect(await carrier.waiting([0, 1, 2])).toEqual(
        new Map([
          [0, 0],
          [1, 8],
          [2, 3],
        ]),
      )
      await carrier.consume(1, sink.deliver, 5)
      await sink.has(5)
      for (const delivery of sink.deliveries.slice(0, 2)) delivery.done()
      expect((await carrier.waiting([1])).get(1)).toBe(6)
    })
  })
})
