// Commands through Kafka: one topic with as many partitions as the app has, its offsets committed after PostgreSQL's commit.
import type { ConnectionOptions } from '@platformatic/kafka'
import { isTwofoldError, TwofoldError } from '../../errors.ts'
import type { CarriedMessage, Carrier, CarrierContext, Delivery, OpenCarrier } from '../../ports/carrier.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import { brokersFault } from './addresses.ts'
import { Backlog } from './backlog.ts'
import { Cluster } from './cluster.ts'
import { Consumer } from './consumer.ts'
import { isAway, kafkaFault } from './faults.ts'
import { kafkaFeatures } from './features.ts'
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
const AGAIN = { minMs: 100, maxMs: 5000 }
const AWAY = 'Kafka, or the topic of this app, cannot be reached right now: the command was not accepted; send it again later'

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

async function openKafka(options: KafkaCarrierOptions, context: CarrierContext): Promise<OpenCarrier> {
  const open = new OpenKafka(options, context)
  try {
    await open.begin()
  } catch (error) {
    if (context.mayBeAway === true && isTwofoldError(error, 'BROKER_UNREACHABLE') && isAway(error)) {
      context.warn({ reason: error.message }, 'Kafka does not answer; it is used as soon as it does')
      void open.goOn()
      return open
    }
    await open.close()
    throw error
  }
  return open
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
  context: TopicNames & Pick<CarrierContext, 'instanceId'>,
): Cluster {
  const topic = topicName(context)
  return new Cluster({ brokers, topic, group: topic, clientId: `twofold-${context.instanceId}`, tls, sasl, requestMsMax })
}

type Wanted = Parameters<OpenCarrier['consume']>

/**
 * `away`: Kafka has not answered yet, or its topic is gone; commands are refused, and what is to be consumed is kept in mind. `ready`: there is a topic that
 * was checked. It is left when the topic is lost, and not for connections that break, which `Cluster` makes anew.
 */
class OpenKafka implements OpenCarrier {
  readonly #options: KafkaCarrierOptions
  readonly #context: CarrierContext
  readonly #cluster: Cluster
  readonly #publisher: Publisher
  readonly #consumer: Consumer
  readonly #backlog: Backlog
  readonly #closing = new AbortController()
  #state: 'away' | 'ready' = 'away'
  /** What is consumed once it is ready. */
  readonly #wanted = new Map<number, Wanted>()
  /** The topic that was used last. */
  #topicId: string | undefined

  constructor(options: KafkaCarrierOptions, context: CarrierContext) {
    const { warn, waitingMax } = context
    const cluster = clusterOf(options, context)
    this.#options = options
    this.#context = context
    this.#cluster = cluster
    this.#publisher = new Publisher({ cluster, warn, messageBytesMax: kafkaFeatures.messageBytesMax, publishMsMax: options.publishMsMax })
    this.#consumer = new Consumer({ cluster, warn })
    this.#backlog = new Backlog({ cluster, waitingMax, doneTo: (partition) => this.#consumer.doneTo(partition) })
    cluster.onTopicLost(() => this.#topicLost())
  }

  /** Makes it ready. @throws TwofoldError BROKER_UNREACHABLE, INVALID_TOPOLOGY */
  async begin(): Promise<void> {
    await reachedOr(this.#options, async () => {
      const { partitionCount, carriedMsMax, warn } = this.#context
      const { messageBytesMax } = kafkaFeatures
      await checkVersions(this.#cluster)
      const topic = { partitionCount, messageBytesMax, carriedMsMax, replicas: this.#options.replicas }
      for (const warning of await ensureTopic(this.#cluster, topic)) warn({ topic: this.#cluster.topic }, warning)
      await this.#prepare()
    })
    const { topic, topicId } = this.#cluster
    if (this.#topicId !== undefined && this.#topicId !== topicId)
      this.#context.warn(
        { topic },
        `the topic ${topic} of Kafka was removed while this app runs: commands that waited in it are lost; there is a new one`,
      )
    this.#topicId = topicId
    this.#state = 'ready'
    for (const [partition, deliver, inHandMax] of this.#wanted.values()) this.#consumer.consume(partition, deliver, inHandMax)
    this.#wanted.clear()
  }

  /** Makes it ready as soon as that can be done. */
  async goOn(): Promise<void> {
    let told = ''
    for (let attempt = 1; !this.#closing.signal.aborted; attempt += 1) {
      try {
        return await this.begin()
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        const isNew = (isTwofoldError(error, 'INVALID_TOPOLOGY') || !isAway(error)) && reason !== told
        if (isNew) this.#context.warn({ reason, attempt }, 'Kafka answers, and cannot be used as it is; trying on')
        // Once in a while, or the log is nothing else.
        else if (attempt % 10 === 0) this.#context.warn({ reason, attempt }, 'Kafka still cannot be used; trying on')
        told = reason
        await pause(backoffMs(attempt, AGAIN), this.#closing.signal)
      }
    }
  }

  /** A cluster that has just started takes a moment to give out producer ids, and to make its topic of offsets. */
  async #prepare(): Promise<void> {
    for (const until = performance.now() + PREPARE_MS_MAX; ; await pause(50, this.#closing.signal)) {
      try {
        await Promise.all([this.#publisher.prepare(), this.#backlog.waiting([0])])
        return
      } catch (error) {
        if (performance.now() >= until || this.#closing.signal.aborted) throw error
      }
    }
  }

  /** What is in hand says nothing of the next topic. */
  #topicLost(): void {
    if (this.#state === 'away') return
    this.#state = 'away'
    for (const { partition, deliver, inHandMax } of this.#consumer.leaveAll()) this.#wanted.set(partition, [partition, deliver, inHandMax])
    void this.goOn()
  }

  get isAway(): boolean {
    return this.#state === 'away' || this.#cluster.isAway
  }

  async publish(message: CarriedMessage): Promise<void> {
    if (this.#state === 'away') throw new TwofoldError('UNAVAILABLE', AWAY, { retryAfterSeconds: 2 })
    if (!this.isAway) this.#backlog.admit()
    return this.#publisher.publish(message)
  }

  async consume(partition: number, deliver: (delivery: Delivery) => void, inHandMax: number): Promise<void> {
    if (this.#state === 'away') this.#wanted.set(partition, [partition, deliver, inHandMax])
    else this.#consumer.consume(partition, deliver, inHandMax)
  }

  release(partition: number): Promise<void> {
    this.#wanted.delete(partition)
    return this.#consumer.release(partition)
  }

  async waiting(partitions: readonly number[]): Promise<ReadonlyMap<number, number>> {
    return this.#state === 'away' ? new Map() : this.#backlog.waiting(partitions)
  }

  drop(): void {
    this.#cluster.drop()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all([this.#publisher.close(), this.#consumer.close()])
    await this.#cluster.close()
  }
}
