// A connection to RabbitMQ that mends itself.
//
// `down`: nothing can be sent; it connects again after growing pauses, as many that lost it together must not come back together. `up`: `onUp` has
// made ready what is used on it. `closed`: for good.
import { connect, type ChannelModel } from 'amqplib'
import { backoffMs, pause } from '../../runtime/backoff.ts'

const AGAIN = { minMs: 100, maxMs: 5000 }
const CONNECT_MS_MAX = 5000
const CLOSE_MS_MAX = 2000

export interface LinkOptions {
  readonly url: string
  /** How operators see it. */
  readonly name: string
  /** The broker gives a silent process up after twice as long, in seconds. */
  readonly heartbeatSeconds: number
  /** Makes ready what is used on a new connection; one on which that fails is closed. */
  readonly onUp: (connection: ChannelModel) => Promise<void>
  readonly onDown: () => void
  readonly warn: (fields: object, message: string) => void
}

export class Link {
  readonly #options: LinkOptions
  readonly #closing = new AbortController()
  #connection: ChannelModel | undefined
  #isUp = false
  #mending: Promise<void> | undefined

  constructor(options: LinkOptions) {
    this.#options = options
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Connects for the first time; after that it mends itself. Rejects with what stands in the way. */
  start(): Promise<void> {
    return this.#connect()
  }

  /** This connection is of no use any more: the next one is made. */
  abandon(reason: unknown): void {
    const connection = this.#connection
    if (connection === undefined) return
    this.#lost(connection, reason)
    connection.close().catch(() => undefined)
  }

  /** How many messages of these queues are with nobody; one that cannot be asked is left out. */
  async lengths(partitions: readonly number[], queueOf: (partition: number) => string): Promise<ReadonlyMap<number, number>> {
    const lengths = new Map<number, number>()
    for (const partition of partitions) {
      try {
        const channel = await this.#connection?.createChannel()
        if (channel === undefined) return lengths
        channel.on('error', () => undefined)
        lengths.set(partition, (await channel.checkQueue(queueOf(partition))).messageCount)
        await channel.close()
      } catch {
        // A queue that is not there closes the channel.
      }
    }
    return lengths
  }

  async close(): Promise<void> {
    this.#closing.abort()
    const connection = this.#connection
    this.#connection = undefined
    this.#isUp = false
    await this.#mending
    if (connection !== undefined) await Promise.race([connection.close().catch(() => undefined), pause(CLOSE_MS_MAX)])
  }

  async #connect(): Promise<void> {
    const { url, name, heartbeatSeconds, onUp } = this.#options
    const address = new URL(url)
    address.searchParams.set('heartbeat', String(heartbeatSeconds))
    const properties = { connection_name: name }
    const connection = await connect(address.href, {
      timeout: CONNECT_MS_MAX,
      noDelay: true,
      keepAlive: true,
      clientProperties: properties,
    })
    let error: unknown
    connection.on('error', (reason: Error) => (error = reason))
    connection.on('close', (reason?: Error) => this.#lost(connection, error ?? reason ?? 'the connection was closed'))
    if (this.#closing.signal.aborted) return connection.close().catch(() => undefined)
    this.#connection = connection
    try {
      await onUp(connection)
    } catch (failure) {
      if (this.#connection === connection) this.#connection = undefined
      await Promise.race([connection.close().catch(() => undefined), pause(CLOSE_MS_MAX)])
      throw failure
    }
    this.#isUp = this.#connection === connection
    if (!this.#isUp) throw error instanceof Error ? error : new Error('the connection was lost at once')
  }

  #lost(connection: ChannelModel, reason: unknown): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    const wasUp = this.#isUp
    this.#isUp = false
    if (this.#closing.signal.aborted) return
    if (!wasUp) return
    this.#options.warn({ reason: String(reason), connection: this.#options.name }, 'lost the connection to RabbitMQ; connecting again')
    this.#options.onDown()
    this.#mending = this.#mend()
  }

  async #mend(): Promise<void> {
    for (let attempt = 1; !this.#closing.signal.aborted; attempt += 1) {
      await pause(AGAIN.minMs / 2 + backoffMs(attempt, AGAIN), this.#closing.signal)
      if (this.#closing.signal.aborted) return
      try {
        await this.#connect()
        return
      } catch (error) {
        // Once in a while, or the log is nothing else.
        if (attempt % 10 === 0) this.#options.warn({ reason: String(error), attempt }, 'RabbitMQ still does not answer; trying on')
      }
    }
  }
}
