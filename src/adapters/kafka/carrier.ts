// Commands through Kafka: one topic with as many partitions as the app has, its offsets committed after PostgreSQL's commit.
import type { ConnectionOptions } from '@platformatic/kafka'
import { TwofoldError } from '../../errors.ts'
import type { CarriedMessage, Carrier, CarrierContext, Delivery, OpenCarrier } from '../../ports/carrier.ts'
import { pause } from '../../runtime/backoff.ts'
import { brokersFault } from './addresses.ts'
import { Backlog } from './backlog.ts'
import { Cluster } from './cluster.ts'
import { Consumer } from './consumer.ts'
import { kafkaFault } from './faults.ts'
import { kafkaFeatures } from './features.ts'
import { Publisher } from './publisher.ts'
import { checkVersions, ensureTopic, topicName } from './topology.ts'

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

/**
 * Commands through Kafka, for `start({ carrier })`; `carrier: 'kafka'` is this with the brokers of `kafkaBrokers` and nothing else. See
 * `docs/guides/carriers.md`.
 * @throws TwofoldError INVALID_OPTIONS with one sentence per fault.
 */
export function kafkaCarrier(options: KafkaCarrierOptions): Carrier {
  const faults = optionFaults(options)
  if (faults.length > 0) throw new TwofoldError('INVALID_OPTIONS', `kafkaCarrier: ${faults.join('; ')}`)
  return { name: 'kafka', features: kafkaFeatures, open: (context) => openKafka(options, context) }
}

const OPTIONS: Readonly<Record<keyof KafkaCarrierOptions, true>> = {
  brokers: true,
  tls: true,
  sasl: true,
  replicas: true,
  publishMsMax: true,
  requestMsMax: true,
}

/** A name that is mistyped would leave out what keeps commands safe, or who this is. */
function optionFaults(options: KafkaCarrierOptions): string[] {
  const wrong = brokersFault(options.brokers)
  const unknown = Object.keys(options).filter((name) => !Object.hasOwn(OPTIONS, name))
  const bounds = (['replicas', 'publishMsMax', 'requestMsMax'] as const).filter((name) => {
    const value = options[name]
    return value !== undefined && !(Number.isInteger(value) && value >= 1)
  })
  return [
    ...(wrong === undefined ? [] : [`brokers is ${wrong}`]),
    ...unknown.map((name) => `${name} is no option; they are ${Object.keys(OPTIONS).join(', ')}`),
    ...bounds.map((name) => `${name} is ${options[name]}; it must be a whole number from 1`),
  ]
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

/** What the brokers, or the way to them, say against it is one sentence. @throws TwofoldError BROKER_UNREACHABLE */
export async function reachedOr<Value>({ brokers }: KafkaCarrierOptions, use: () => Promise<Value>): Promise<Value> {
  try {
    return await use()
  } catch (error) {
    throw kafkaFault(error, brokers)
  }
}

/** The brokers of an app, not connected yet. */
export function clusterOf(
  { brokers, tls, sasl, requestMsMax }: KafkaCarrierOptions,
  { app, partitionCount, instanceId }: Pick<CarrierContext, 'app' | 'partitionCount' | 'instanceId'>,
): Cluster {
  const topic = topicName(app, partitionCount)
  return new Cluster({ brokers, topic, group: topic, clientId: `twofold-${instanceId}`, tls, sasl, requestMsMax })
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
