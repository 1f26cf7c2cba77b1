// Commands through Kafka: one topic with as many partitions as the app has, its offsets committed after PostgreSQL's commit.
import type { ConnectionOptions } from '@platformatic/kafka'
import { TwofoldError } from '../../errors.ts'
import type { CarriedMessage, Carrier, CarrierContext, CarrierFeatures, Delivery, OpenCarrier } from '../../ports/carrier.ts'
import { pause } from '../../runtime/backoff.ts'
import { Backlog } from './backlog.ts'
import { Cluster } from './cluster.ts'
import { Consumer } from './consumer.ts'
import { Publisher } from './publisher.ts'
import { checkVersions, ensureTopic, topicName, type TopicNames } from './topology.ts'

/** Where Kafka is, and how to reach it. */
export interface KafkaCarrierOptions {
  /** Some of the brokers, as `host:port`; they name the others. */
  readonly brokers: readonly string[]
  /** Settings of Node's `tls.connect`. Default: none, in the clear. */
  readonly tls?: ConnectionOptions['tls'] | undefined
  /** Who this is, as `{ mechanism: 'SCRAM-SHA-512', username, password }`. Default: nobody. */
  readonly sasl?: ConnectionOptions['sasl'] | undefined
  /** On how many brokers each message of a new topic is kept. Default: 3, or as many as there are. */
  readonly replicas?: number | undefined
  /** How long a command may take to be confirmed, in milliseconds. Default 10 s. */
  readonly publishMsMax?: number | undefined
  /** A request to a broker without an answer for so long is taken for lost, in milliseconds. Default 5 s. */
  readonly requestMsMax?: number | undefined
}

const PREPARE_MS_MAX = 15_000

export const kafkaFeatures: CarrierFeatures = {
  durable: true,
  replies: false,
  messageBytesMax: 4 << 20,
  exclusive: false,
  keepsInHand: true,
}

/**
 * Commands through Kafka, for `start({ carrier })`; `carrier: 'kafka'` is this with the brokers of `kafkaBrokers` and nothing else. See
 * `docs/guides/carriers.md`.
 */
export function kafkaCarrier(options: KafkaCarrierOptions): Carrier {
  return { name: 'kafka', features: kafkaFeatures, open: (context) => openKafka(options, context) }
}

function openKafka(options: KafkaCarrierOptions, context: CarrierContext): Promise<OpenCarrier> {
  return reachedOr(options, async () => {
    const cluster = clusterOf(options, context)
    try {
      await checkVersions(cluster)
      const { partitionCount, carriedMsMax } = context
      const { messageBytesMax } = kafkaFeatures
      const warnings = await ensureTopic(cluster, { partitionCount, messageBytesMax, carriedMsMax, replicas: options.replicas })
      for (const warning of warnings) context.warn({ topic: cluster.topic }, warning)
      const open = new OpenKafka(cluster, options, context)
      await open.prepare()
      return open
    } catch (error) {
      await cluster.close()
      throw error
    }
  })
}

/** Whatever is not said by Twofold itself says that Kafka does not answer. @throws TwofoldError BROKER_UNREACHABLE */
export async function reachedOr<Value>({ brokers }: KafkaCarrierOptions, use: () => Promise<Value>): Promise<Value> {
  try {
    return await use()
  } catch (error) {
    if (error instanceof TwofoldError) throw error
    const message = `Kafka does not answer at ${brokers.join(', ')} (${reasonOf(error)}): start it, or set KAFKA_BROKERS to where it is`
    throw new TwofoldError('BROKER_UNREACHABLE', message, { cause: error })
  }
}

/** The brokers of an app, not connected yet. */
export function clusterOf(
  { brokers, tls, sasl, requestMsMax }: KafkaCarrierOptions,
  context: TopicNames & Pick<CarrierContext, 'instanceId'>,
): Cluster {
  const topic = topicName(context)
  return new Cluster({ brokers, topic, group: topic, clientId: `twofold-${context.instanceId}`, tls, sasl, requestMsMax })
}

class OpenKafka implements OpenCarrier {
  readonly #cluster: Cluster
  readonly #publisher: Publisher
  readonly #consumer: Consumer
  readonly #backlog: Backlog

  constructor(cluster: Cluster, { publishMsMax }: KafkaCarrierOptions, { warn, waitingMax }: CarrierContext) {
    this.#cluster = cluster
    this.#publisher = new Publisher({ cluster, warn, messageBytesMax: kafkaFeatures.messageBytesMax, publishMsMax })
    this.#consumer = new Consumer({ cluster, warn })
    this.#backlog = new Backlog({ cluster, waitingMax, doneTo: (partition) => this.#consumer.doneTo(partition) })
  }

  /** A cluster that has just started takes a moment to give out producer ids, and to make its topic of offsets. */
  async prepare(): Promise<void> {
    for (const until = performance.now() + PREPARE_MS_MAX; ; await pause(50)) {
      try {
        await Promise.all([this.#publisher.prepare(), this.#backlog.waiting([0])])
        return
      } catch (error) {
        if (performance.now() < until) continue
        await this.#publisher.close()
        await this.#consumer.close()
        throw error
      }
    }
  }

  get isAway(): boolean {
    return this.#cluster.isAway
  }

  async publish(message: CarriedMessage): Promise<void> {
    if (!this.isAway) this.#backlog.admit()
    return this.#publisher.publish(message)
  }

  async consume(partition: number, deliver: (delivery: Delivery) => void, inHandMax: number): Promise<void> {
    this.#consumer.consume(partition, deliver, inHandMax)
  }

  release(partition: number): Promise<void> {
    return this.#consumer.release(partition)
  }

  waiting(partitions: readonly number[]): Promise<ReadonlyMap<number, number>> {
    return this.#backlog.waiting(partitions)
  }

  drop(): void {
    this.#cluster.drop()
  }

  async close(): Promise<void> {
    await Promise.all([this.#publisher.close(), this.#consumer.close()])
    await this.#cluster.close()
  }
}

/** The innermost reason: what the library says around it is its own affair. */
function reasonOf(error: unknown): string {
  const { errors, cause } = error as { readonly errors?: readonly unknown[]; readonly cause?: unknown }
  if (errors?.[0] !== undefined) return reasonOf(errors[0])
  return cause === undefined ? (error as Error).message || String(error) : reasonOf(cause)
}
