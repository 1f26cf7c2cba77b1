// The brokers, and which of them leads which partition: one place that connects, asks anew after a loss, and knows whether they are away.
//
// A broker answers the requests of one connection one after the other, so each purpose has connections of its own: a fetch that waits for
// messages holds up neither what is published nor what is committed.
import { ConnectionPool, type Broker, type Connection, type ConnectionOptions } from '@platformatic/kafka'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import { codes, nameOf, requests } from './protocol.ts'

export type Purpose = 'publish' | 'fetch' | 'control'

export interface ClusterOptions {
  /** As `host:port`. */
  readonly brokers: readonly string[]
  readonly topic: string
  /** The name under which offsets are committed. */
  readonly group: string
  readonly clientId: string
  readonly tls?: ConnectionOptions['tls'] | undefined
  readonly sasl?: ConnectionOptions['sasl'] | undefined
  /** A request without an answer for so long is taken for lost, and its connection with it, in milliseconds. Default 5 s. */
  readonly requestMsMax?: number | undefined
}

const REQUEST_MS_MAX = 5_000
const CONNECT_MS_MAX = 3_000
/** Losses that are over sooner are nobody's business: what waits goes on waiting. */
const AWAY_AFTER_MS = 500
const RETRY = { minMs: 50, maxMs: 2_000 }

interface Api<Args extends unknown[], Answer> {
  readonly async: (connection: Connection, ...args: Args) => Promise<Answer>
}

export class Cluster {
  readonly requestMsMax: number
  readonly #options: ClusterOptions
  readonly #pools: Readonly<Record<Purpose, ConnectionPool>>
  readonly #bootstrap: readonly Broker[]
  readonly #closing = new AbortController()
  readonly #watched = new WeakSet<Connection>()
  readonly #onMended = new Set<() => void>()
  readonly #onTopicLost = new Set<() => void>()
  #brokers: ReadonlyMap<number, Broker> = new Map()
  #leaders: readonly number[] = []
  #replicas = 0
  #topicId: string | undefined
  #coordinator: Broker | undefined
  #refreshing: Promise<void> | undefined
  #troubleSince: number | undefined

  constructor(options: ClusterOptions) {
    this.#options = options
    this.requestMsMax = options.requestMsMax ?? REQUEST_MS_MAX
    const { clientId, tls, sasl } = options
    const settings = { connectTimeout: CONNECT_MS_MAX, requestTimeout: this.requestMsMax, ...(tls && { tls }), ...(sasl && { sasl }) }
    const pool = (): ConnectionPool => new ConnectionPool(clientId, settings)
    this.#pools = { publish: pool(), fetch: pool(), control: pool() }
    this.#bootstrap = options.brokers.map(addressOf)
  }

  get topic(): string {
    return this.#options.topic
  }

  get group(): string {
    return this.#options.group
  }

  /** Undefined: there is no such topic. */
  get topicId(): string | undefined {
    return this.#topicId
  }

  get partitionCount(): number {
    return this.#leaders.length
  }

  get brokerCount(): number {
    return this.#brokers.size
  }

  /** How many brokers keep a partition, the fewest of all partitions. */
  get replicas(): number {
    return this.#replicas
  }

  get isAway(): boolean {
    return this.#troubleSince !== undefined && performance.now() - this.#troubleSince > AWAY_AFTER_MS
  }

  /** The node that takes and gives a partition's messages; undefined while there is none. */
  leaderOf(partition: number): number | undefined {
    const leader = this.#leaders[partition]
    return leader !== undefined && this.#brokers.has(leader) ? leader : undefined
  }

  /** Calls back each time the brokers are there again. */
  onMended(callback: () => void): void {
    this.#onMended.add(callback)
  }

  /** Calls back when the topic is gone, or another one lies under its name. */
  onTopicLost(callback: () => void): void {
    this.#onTopicLost.add(callback)
  }

  /** Asks who leads which partition; several askers share one request. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  /** A request to one node. A lost connection, and an answer that does not come, reject; of errors in an answer see `answerOf`. */
  async ask<Args extends unknown[], Answer>(purpose: Purpose, node: number, api: Api<Args, Answer>, ...args: Args): Promise<Answer> {
    const broker = this.#brokers.get(node)
    if (broker === undefined) throw new Error(`Kafka's node ${node} is not known`)
    return this.#ask(await this.#pools[purpose].get(broker), api, args)
  }

  /** A request that any node answers. */
  async askAny<Args extends unknown[], Answer>(api: Api<Args, Answer>, ...args: Args): Promise<Answer> {
    const brokers = [...this.#brokers.values(), ...this.#bootstrap]
    return this.#ask(await this.#pools.control.getFirstAvailable(brokers), api, args)
  }

  /** A request to the node that keeps the committed offsets. */
  async askCoordinator<Args extends unknown[], Answer>(api: Api<Args, Answer>, ...args: Args): Promise<Answer> {
    this.#coordinator ??= await this.#findCoordinator()
    try {
      return await this.#ask(await this.#pools.control.get(this.#coordinator), api, args)
    } catch (error) {
      this.#coordinator = undefined
      throw error
    }
  }

  /** Another node keeps the offsets now. */
  forgetCoordinator(): void {
    this.#coordinator = undefined
  }

  /** Something was lost: goes on asking until the brokers answer, and says so to whom `onMended` names. */
  trouble(): void {
    if (this.#troubleSince !== undefined || this.#closing.signal.aborted) return
    this.#troubleSince = performance.now()
    void this.#mend(this.#closing.signal)
  }

  /** All connections are lost; who needs one gets another. */
  drop(): void {
    for (const pool of Object.values(this.#pools)) for (const [, connection] of pool) connection.socket?.destroy()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    // Cut, not asked to end: one that hangs would hold up the whole stop.
    this.drop()
    await Promise.allSettled(Object.values(this.#pools).map((pool) => pool.close()))
  }

  async #mend(signal: AbortSignal): Promise<void> {
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        await this.refresh()
        break
      } catch {
        await pause(backoffMs(attempt, RETRY), signal)
      }
    }
    this.#troubleSince = undefined
    if (!signal.aborted) for (const callback of this.#onMended) callback()
  }

  async #refresh(): Promise<void> {
    const answer = await answerOf(this.askAny(requests.metadata, [this.topic], false, false))
    this.#brokers = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    const topic = answer.topics.find(({ name }) => name === this.topic)
    // Without the right to see it there seem to be no partitions, and nothing can be said of it.
    if (topic?.errorCode === codes.TOPIC_AUTHORIZATION_FAILED) throw new Error(`the topic ${this.topic}: ${nameOf(topic.errorCode)}`)
    const exists = topic !== undefined && topic.errorCode !== codes.UNKNOWN_TOPIC_OR_PARTITION
    const before = this.#topicId
    this.#topicId = exists ? topic.topicId : undefined
    const partitions = exists ? topic.partitions.toSorted((a, b) => a.partitionIndex - b.partitionIndex) : []
    this.#leaders = partitions.map(({ leaderId }) => leaderId)
    this.#replicas = Math.min(...partitions.map(({ replicaNodes }) => replicaNodes.length))
    if (before !== undefined && before !== this.#topicId) for (const callback of this.#onTopicLost) callback()
  }

  async #findCoordinator(): Promise<Broker> {
    const answer = await answerOf(this.askAny(requests.findCoordinator, 0, [this.group]))
    const found = answer.coordinators[0]
    const code = found?.errorCode ?? codes.COORDINATOR_NOT_AVAILABLE
    if (found === undefined || code !== codes.NONE) throw new Error(`no node keeps offsets: ${nameOf(code)}`)
    return { host: found.host, port: found.port }
  }

  async #ask<Args extends unknown[], Answer>(connection: Connection, api: Api<Args, Answer>, args: Args): Promise<Answer> {
    if (!this.#watched.has(connection)) {
      this.#watched.add(connection)
      connection.on('error', () => undefined)
    }
    try {
      return await api.async(connection, ...args)
    } catch (error) {
      // An answer that is late would be taken for that of a later request's: the connection is of no use any more.
      if (!hasAnswer(error)) connection.socket?.destroy()
      throw error
    }
  }
}

/** What came back, errors of single partitions included: the library throws those away with everything that went well. */
export async function answerOf<Answer>(asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked
  } catch (error) {
    if (hasAnswer(error)) return error.response as Answer
    throw error
  }
}

function hasAnswer(error: unknown): error is { readonly response: unknown } {
  return error instanceof Error && 'response' in error && error.response !== undefined
}

function addressOf(broker: string): Broker {
  const colon = broker.lastIndexOf(':')
  return { host: broker.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(broker.slice(colon + 1)) }
}
