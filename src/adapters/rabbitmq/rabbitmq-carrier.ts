// Commands over RabbitMQ: quorum queues, one for each partition. One connection publishes and hears replies, others consume: while the broker
// is short of memory or disk it stops the first, and what it holds is still brought to its end.
import { debuglog } from 'node:util'
import type { CarriedMessage, Carrier, CarrierContext, Delivery, OpenCarrier } from '../../ports/carrier.ts'
import { TwofoldError } from '../../errors.ts'
import { pause } from '../../runtime/backoff.ts'
import { checkBroker } from './broker.ts'
import { Consumers } from './consumers.ts'
import { isAway, rabbitMqFault } from './faults.ts'
import { rabbitmqFeatures } from './features.ts'
import { FullQueues } from './full-queues.ts'
import { Link } from './link.ts'
import { Publisher } from './publisher.ts'
import { declareQueue, declareTopology, queueLengthMax, queueName } from './topology.ts'

/** How long confirmations that are under way are waited for at the end. */
const DRAIN_MS_MAX = 3000

/** Told with `NODE_DEBUG=twofold-rabbitmq`: what is nothing to act on. */
const debug = debuglog('twofold-rabbitmq')

export interface RabbitMqOptions {
  /** So many partitions are consumed on one connection, each on a channel of its own; of those a broker allows 2,047 unless it is told otherwise. */
  readonly partitionsPerConnection?: number
}

const PARTITIONS_PER_CONNECTION = 1000

/** RabbitMQ at `url`, such as `amqp://user:password@host:5672/vhost`. */
export function rabbitmqCarrier(url: string, options: RabbitMqOptions = {}): Carrier {
  return {
    name: 'rabbitmq',
    features: rabbitmqFeatures,
    async open(context) {
      const open = new RabbitMqCarrier(url, context, options)
      try {
        await open.start()
        return open
      } catch (error) {
        await open.close()
        throw rabbitMqFault(error, url)
      }
    },
  }
}

/** A connection that consumes, and what is consumed on it. */
interface Consuming {
  readonly link: Link
  readonly consumers: Consumers
}

class RabbitMqCarrier implements OpenCarrier {
  readonly #context: CarrierContext
  readonly #publisher: Publisher
  readonly #out: Link
  /** A partition belongs to the one at its number modulo theirs. */
  readonly #in: readonly Consuming[]
  /** What each queue may hold that was made with another bound than ours. */
  readonly #otherBounds = new Map<string, number>()
  /** Queues that are being made again. */
  readonly #remade = new Map<number, Promise<void>>()

  constructor(url: string, context: CarrierContext, { partitionsPerConnection = PARTITIONS_PER_CONNECTION }: RabbitMqOptions) {
    const { app, instanceId, leaseMs, partitionCount, warn } = context
    const queueOf = (partition: number): string => queueName(context, partition)
    const missing = (partition: number): Promise<void> => this.#remake(partition)
    this.#context = context
    const fullQueues = new FullQueues(
      async (partition) => (await this.#out.lengths([partition], queueOf)).get(partition),
      (partition) => this.#otherBounds.get(queueOf(partition)) ?? queueLengthMax(context),
    )
    this.#publisher = new Publisher({
      queueOf,
      bytesMax: rabbitmqFeatures.messageBytesMax,
      stuck: (reason) => this.#out.abandon(reason),
      isFull: (partition) => fullQueues.isFull(partition),
      missing,
      warn,
      debug: (fields, message) => debug('%s %o', message, fields),
    })
    // The broker gives a process up after two silent intervals: no later than others take its partitions.
    const heartbeatSeconds = Math.max(1, Math.floor(leaseMs / 2000))
    const shared = { url, heartbeatSeconds, warn }
    this.#out = new Link({
      ...shared,
      name: `${app} ${instanceId} publishes`,
      onUp: async (connection, signal) => {
        checkBroker(connection, 1)
        const bounds = await declareTopology(connection, context, (message) => warn({}, message))
        this.#otherBounds.clear()
        for (const [queue, bound] of bounds) this.#otherBounds.set(queue, bound)
        await this.#publisher.open(connection, signal)
      },
      onDown: () => this.#publisher.lost(),
    })
    const count = Math.ceil(partitionCount / partitionsPerConnection)
    this.#in = Array.from({ length: count }, (_, at) => {
      const consumers = new Consumers({ queueOf, missing, warn })
      const link = new Link({
        ...shared,
        name: `${app} ${instanceId} consumes${count === 1 ? '' : ` ${at + 1} of ${count}`}`,
        onUp: async (connection, signal) => {
          // One more for replies.
          checkBroker(connection, Math.ceil(partitionCount / count) + 1)
          await consumers.open(connection, signal)
        },
        onDown: () => consumers.lost(),
      })
      return { link, consumers }
    })
  }

  async start(): Promise<void> {
    const mayPass = (error: unknown): boolean => this.#context.mayBeAway === true && !(error instanceof TwofoldError) && isAway(error)
    await this.#out.start(mayPass)
    for (const { link } of this.#in) await link.start(mayPass)
  }

  get isAway(): boolean {
    return this.#publisher.isAway
  }

  publish(message: CarriedMessage): Promise<void> {
    return this.#publisher.publish(message)
  }

  request(message: CarriedMessage, signal?: AbortSignal, onConfirmed?: () => void): Promise<string> {
    return this.#publisher.request(message, signal, onConfirmed)
  }

  consume(partition: number, deliver: (delivery: Delivery) => void, inHandMax: number, onAnew?: () => void): Promise<void> {
    return this.#consuming(partition).consumers.consume(partition, deliver, inHandMax, onAnew)
  }

  release(partition: number): Promise<void> {
    return this.#consuming(partition).consumers.release(partition)
  }

  async waiting(partitions: readonly number[]): Promise<ReadonlyMap<number, number>> {
    const ready = await this.#consuming(0).link.lengths(partitions, (partition) => queueName(this.#context, partition))
    return new Map([...ready].map(([partition, count]) => [partition, count + this.#consuming(partition).consumers.inHand(partition)]))
  }

  drop(): void {
    this.#out.drop()
    for (const { link } of this.#in) link.drop()
  }

  async close(): Promise<void> {
    if (this.#out.isUp) await Promise.race([this.#publisher.drained(), pause(DRAIN_MS_MAX)])
    const released = this.#in.filter(({ link }) => link.isUp).map(({ consumers }) => consumers.close())
    if (released.length > 0) await Promise.race([Promise.all(released), pause(DRAIN_MS_MAX)])
    this.#publisher.close()
    for (const { consumers } of this.#in) consumers.lost()
    await Promise.all([this.#out.close(), ...this.#in.map(({ link }) => link.close())])
  }

  #consuming(partition: number): Consuming {
    return this.#in[partition % this.#in.length] as Consuming
  }

  /** A queue that was removed while this instance runs is made again, once for all that miss it at the same time. */
  #remake(partition: number): Promise<void> {
    const remade = this.#remade.get(partition) ?? this.#declareAgain(partition).finally(() => this.#remade.delete(partition))
    this.#remade.set(partition, remade)
    return remade
  }

  async #declareAgain(partition: number): Promise<void> {
    const { warn } = this.#context
    const queue = queueName(this.#context, partition)
    const { connection } = this.#out
    // The next connection declares all of them.
    if (connection === undefined) return
    // Another instance may have been faster, or this one, before it knew of all that came back.
    if ((await this.#out.lengths([partition], () => queue)).has(partition)) return
    warn(
      { queue, partition },
      `the queue '${queue}' of RabbitMQ was removed while this app runs: commands that waited in it are lost; it is made again`,
    )
    try {
      const bound = await declareQueue(connection, this.#context, partition, (message) => warn({}, message))
      if (bound === undefined) this.#otherBounds.delete(queue)
      else this.#otherBounds.set(queue, bound)
    } catch (error) {
      warn({ queue, reason: String(error) }, 'the queue cannot be made again')
    }
  }
}
