// A broker inside this process, for tests: what it holds ends with it. Its instances share it as they would share a real one.
import { TwofoldError } from '../errors.ts'
import type { CarriedMessage, Carrier, CarrierContext, Delivery, OpenCarrier } from '../ports/carrier.ts'

const MESSAGE_BYTES_MAX = 16 * 1024 * 1024

/** A broker in memory, and what a test may do to it. */
export interface MemoryCarrier extends Carrier {
  /** The broker is away: nothing is published or delivered, and what is not done is delivered again once it is back. */
  cut(): void
  restore(): void
}

interface Held extends CarriedMessage {
  redelivered: boolean
  /** Tells whoever waits for the reply. */
  readonly reply: ((text: string) => void) | undefined
}

interface Consumer {
  readonly owner: MemoryConnection
  readonly deliver: (delivery: Delivery) => void
  readonly inHandMax: number
  readonly onAnew: (() => void) | undefined
  readonly inHand: Set<Held>
}

/** One partition: what is not done, in order, and who consumes it; the first of them gets the messages. */
class Queue {
  readonly held: Held[] = []
  readonly consumers: Consumer[] = []
  #isDelivering = false

  add(message: Held): void {
    this.held.push(message)
    this.deliver()
  }

  leave(owner: MemoryConnection): void {
    const at = this.consumers.findIndex((consumer) => consumer.owner === owner)
    if (at < 0) return
    for (const message of this.consumers[at]?.inHand ?? []) message.redelivered = true
    this.consumers.splice(at, 1)
    this.deliver()
  }

  deliver(): void {
    if (this.#isDelivering || this.consumers.length === 0) return
    this.#isDelivering = true
    // As over a network: never before whoever publishes or consumes has gone on.
    setImmediate(() => {
      this.#isDelivering = false
      const [consumer] = this.consumers
      if (consumer === undefined || consumer.owner.isAway) return
      for (const message of this.held) {
        if (consumer.inHand.size >= consumer.inHandMax) return
        if (!consumer.inHand.has(message)) this.#hand(message, consumer)
      }
    })
  }

  #hand(message: Held, consumer: Consumer): void {
    consumer.inHand.add(message)
    const { body, redelivered, reply } = message
    consumer.deliver({
      body,
      redelivered,
      wantsReply: reply !== undefined,
      done: (text) => {
        if (!this.consumers.includes(consumer) || !consumer.inHand.delete(message)) return
        this.held.splice(this.held.indexOf(message), 1)
        if (text !== undefined) reply?.(text)
        this.deliver()
      },
    })
  }
}

class Broker {
  readonly queues = new Map<string, Queue>()
  isAway = false

  queue(of: string, partition: number): Queue {
    const name = `${of}.${partition}`
    const queue = this.queues.get(name) ?? new Queue()
    this.queues.set(name, queue)
    return queue
  }
}

class MemoryConnection implements OpenCarrier {
  readonly #broker: Broker
  readonly #context: CarrierContext
  readonly #wanted = new Map<number, Omit<Consumer, 'inHand'>>()

  constructor(broker: Broker, context: CarrierContext) {
    this.#broker = broker
    this.#context = context
  }

  get isAway(): boolean {
    return this.#broker.isAway
  }

  async publish(message: CarriedMessage): Promise<void> {
    this.#add(message, undefined)
    await new Promise(setImmediate)
  }

  request(message: CarriedMessage, signal?: AbortSignal, onConfirmed?: () => void): Promise<string> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const abort = (): void => reject(signal?.reason as Error)
      this.#add(message, (text) => {
        signal?.removeEventListener('abort', abort)
        resolve(text)
      })
      signal?.addEventListener('abort', abort, { once: true })
      onConfirmed?.()
    })
  }

  consume(partition: number, deliver: (delivery: Delivery) => void, inHandMax: number, onAnew?: () => void): Promise<void> {
    const consumer = { owner: this, deliver, inHandMax, onAnew }
    this.#wanted.set(partition, consumer)
    if (!this.isAway) this.#join(partition, consumer)
    return Promise.resolve()
  }

  release(partition: number): Promise<void> {
    this.#wanted.delete(partition)
    this.#queue(partition).leave(this)
    return Promise.resolve()
  }

  waiting(partitions: readonly number[]): Promise<ReadonlyMap<number, number>> {
    return Promise.resolve(new Map(partitions.map((partition) => [partition, this.#queue(partition).held.length])))
  }

  drop(): void {
    this.cut()
    this.restore()
  }

  async close(): Promise<void> {
    for (const partition of this.#wanted.keys()) await this.release(partition)
  }

  cut(): void {
    for (const partition of this.#wanted.keys()) this.#queue(partition).leave(this)
  }

  restore(): void {
    for (const [partition, consumer] of this.#wanted) this.#join(partition, consumer)
  }

  #join(partition: number, consumer: Omit<Consumer, 'inHand'>): void {
    const queue = this.#queue(partition)
    consumer.onAnew?.()
    queue.consumers.push({ ...consumer, inHand: new Set() })
    queue.deliver()
  }

  #add(message: CarriedMessage, reply: Held['reply']): void {
    if (this.isAway) throw new TwofoldError('UNAVAILABLE', 'the broker in memory is away; try again in a moment', { retryAfterSeconds: 1 })
    if (Buffer.byteLength(message.body) > MESSAGE_BYTES_MAX)
      throw new TwofoldError('BODY_TOO_LARGE', `a command may have ${MESSAGE_BYTES_MAX} bytes in the broker in memory`)
    const { waitingMax, partitionCount } = this.#context
    const queue = this.#queue(message.partition)
    if (queue.held.length >= Math.ceil(waitingMax / partitionCount)) {
      const text = `${queue.held.length} commands wait in partition ${message.partition}, which is all it takes; send fewer`
      throw new TwofoldError('BACKLOG_FULL', text, { retryAfterSeconds: 2 })
    }
    queue.add({ ...message, redelivered: false, reply })
  }

  #queue(partition: number): Queue {
    const { app, databaseId } = this.#context
    return this.#broker.queue(`${app}.${databaseId}`, partition)
  }
}

/** Makes one. All instances of an app that are started with it and the same database share what it carries. */
export function memoryCarrier(): MemoryCarrier {
  const broker = new Broker()
  const connections = new Set<MemoryConnection>()
  return {
    name: 'memory',
    features: { durable: false, replies: true, messageBytesMax: MESSAGE_BYTES_MAX, exclusive: true, keepsInHand: false },
    open(context) {
      const connection = new MemoryConnection(broker, context)
      connections.add(connection)
      return Promise.resolve(connection)
    },
    cut() {
      broker.isAway = true
      for (const connection of connections) connection.cut()
    },
    restore() {
      broker.isAway = false
      for (const connection of connections) connection.restore()
    },
  }
}
