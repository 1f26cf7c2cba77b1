// Commands over RabbitMQ: quorum queues, one for each partition. One connection publishes and hears replies, another one consumes: while the broker
// is short of memory or disk it stops the first, and what it holds is still brought to its end.
import { debuglog } from 'node:util'
import type { CarriedMessage, Carrier, CarrierContext, Delivery, OpenCarrier } from '../../ports/carrier.ts'
import { pause } from '../../runtime/backoff.ts'
import { Consumers } from './consumers.ts'
import { rabbitMqFault } from './faults.ts'
import { rabbitmqFeatures } from './features.ts'
import { FullQueues } from './full-queues.ts'
import { Link } from './link.ts'
import { Publisher } from './publisher.ts'
import { declareTopology, queueLengthMax, queueName } from './topology.ts'

/** How long confirmations that are under way are waited for at the end. */
const DRAIN_MS_MAX = 3000

/** Told with `NODE_DEBUG=twofold-rabbitmq`: what is nothing to act on. */
const debug = debuglog('twofold-rabbitmq')

/** RabbitMQ at `url`, such as `amqp://user:password@host:5672/vhost`. */
export function rabbitmqCarrier(url: string): Carrier {
  return {
    name: 'rabbitmq',
    features: rabbitmqFeatures,
    async open(context) {
      const open = new RabbitMqCarrier(url, context)
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

class RabbitMqCarrier implements OpenCarrier {
  readonly #context: CarrierContext
  readonly #publisher: Publisher
  readonly #consumers: Consumers
  readonly #out: Link
  readonly #in: Link
  /** What each queue may hold that was made with another bound than ours. */
  #otherBounds: ReadonlyMap<string, number> = new Map()

  constructor(url: string, context: CarrierContext) {
    const { app, instanceId, leaseMs, warn } = context
    const queueOf = (partition: number): string => queueName(context, partition)
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
      warn,
      debug: (fields, message) => debug('%s %o', message, fields),
    })
    this.#consumers = new Consumers({ queueOf, warn })
    // The broker gives a process up after two silent intervals: no later than others take its partitions.
    const heartbeatSeconds = Math.max(1, Math.floor(leaseMs / 2000))
    const shared = { url, heartbeatSeconds, warn }
    this.#out = new Link({
      ...shared,
      name: `${app} ${instanceId} publishes`,
      onUp: async (connection, signal) => {
        this.#otherBounds = await declareTopology(connection, context, (message) => warn({}, message))
        await this.#publisher.open(connection, signal)
      },
      onDown: () => this.#publisher.lost(),
    })
    this.#in = new Link({
      ...shared,
      name: `${app} ${instanceId} consumes`,
      onUp: (connection, signal) => this.#consumers.open(connection, signal),
      onDown: () => this.#consumers.lost(),
    })
  }

  async start(): Promise<void> {
    await this.#out.start()
    await this.#in.start()
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
    return this.#consumers.consume(partition, deliver, inHandMax, onAnew)
  }

  release(partition: number): Promise<void> {
    return this.#consumers.release(partition)
  }

  waiting(partitions: readonly number[]): Promise<ReadonlyMap<number, number>> {
    return this.#in
      .lengths(partitions, (partition) => queueName(this.#context, partition))
      .then((lengths) => {
        return new Map([...lengths].map(([partition, ready]) => [partition, ready + this.#consumers.inHand(partition)]))
      })
  }

  drop(): void {
    this.#out.drop()
    this.#in.drop()
  }

  async close(): Promise<void> {
    if (this.#out.isUp) await Promise.race([this.#publisher.drained(), pause(DRAIN_MS_MAX)])
    if (this.#in.isUp) await Promise.race([this.#consumers.close(), pause(DRAIN_MS_MAX)])
    this.#publisher.close()
    this.#consumers.lost()
    await Promise.all([this.#out.close(), this.#in.close()])
  }
}
