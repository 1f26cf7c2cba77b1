// Consumes partitions, each on a channel of its own: closing it gives back whatever is not acknowledged, at once and in order.
//
// The broker keeps that order only because every consumer of a queue takes the same number of messages: what comes back to a quorum queue waits in
// the order in which it came back, so all of it has to be in one consumer's hands before anything else can come back behind it.
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import type { Delivery } from '../../ports/carrier.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import { closed } from './closed.ts'
import { Replies } from './replies.ts'

const AGAIN = { minMs: 100, maxMs: 5000 }
const NOT_FOUND = 404

export interface ConsumersOptions {
  readonly queueOf: (partition: number) => string
  /** The partition's queue is gone: makes it again. */
  readonly missing: (partition: number) => Promise<void>
  readonly warn: (fields: object, message: string) => void
}

interface Wanted {
  readonly partition: number
  readonly deliver: (delivery: Delivery) => void
  readonly inHandMax: number
  readonly onAnew: (() => void) | undefined
  consumer: Consumer | undefined
  /** What is being asked of the broker: one thing after the other. */
  asked: Promise<void>
}

export class Consumers {
  readonly #options: ConsumersOptions
  readonly #wanted = new Map<number, Wanted>()
  readonly #replies: Replies
  #connection: ChannelModel | undefined

  constructor(options: ConsumersOptions) {
    this.#options = options
    this.#replies = new Replies(options.warn)
  }

  /** `signal` is aborted where this connection is given up meanwhile. */
  async open(connection: ChannelModel, signal: AbortSignal): Promise<void> {
    await this.#replies.open(connection, signal)
    this.#connection = connection
    for (const wanted of this.#wanted.values()) void this.#join(wanted)
  }

  lost(): void {
    this.#connection = undefined
    this.#replies.lost()
    for (const wanted of this.#wanted.values()) this.#leave(wanted)
  }

  consume(partition: number, deliver: (delivery: Delivery) => void, inHandMax: number, onAnew?: () => void): Promise<void> {
    const wanted: Wanted = { partition, deliver, inHandMax, onAnew, consumer: undefined, asked: Promise.resolve() }
    this.#wanted.set(partition, wanted)
    return this.#join(wanted)
  }

  async release(partition: number): Promise<void> {
    const wanted = this.#wanted.get(partition)
    if (wanted === undefined) return
    this.#wanted.delete(partition)
    const consumer = this.#leave(wanted)
    await wanted.asked
    await (consumer ?? this.#leave(wanted))?.close()
  }

  async close(): Promise<void> {
    await Promise.all([...this.#wanted.keys()].map((partition) => this.release(partition)))
  }

  /** How many are in this process's hands. */
  inHand(partition: number): number {
    return this.#wanted.get(partition)?.consumer?.inHand ?? 0
  }

  #leave(wanted: Wanted): Consumer | undefined {
    const { consumer } = wanted
    wanted.consumer = undefined
    consumer?.end()
    return consumer
  }

  #join(wanted: Wanted): Promise<void> {
    wanted.asked = wanted.asked.then(() => this.#tryOn(wanted))
    return wanted.asked
  }

  async #tryOn(wanted: Wanted): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const connection = this.#connection
      // The next connection tries again.
      if (connection === undefined || this.#wanted.get(wanted.partition) !== wanted || wanted.consumer !== undefined) return
      try {
        return await this.#open(connection, wanted)
      } catch (error) {
        if (this.#connection !== connection) return
        const { partition } = wanted
        if ((error as { readonly code?: unknown }).code === NOT_FOUND) await this.#options.missing(partition)
        this.#options.warn({ reason: String(error), partition }, 'a queue of RabbitMQ cannot be consumed; trying again')
        await pause(backoffMs(attempt, AGAIN))
      }
    }
  }

  async #open(connection: ChannelModel, wanted: Wanted): Promise<void> {
    const channel = await connection.createChannel()
    const consumer = new Consumer(channel, wanted.deliver, (to, id, reply) => this.#replies.send(to, id, reply))
    channel.on('error', () => undefined)
    channel.on('close', () => this.#again(wanted, consumer))
    wanted.consumer = consumer
    try {
      await channel.prefetch(wanted.inHandMax)
      wanted.onAnew?.()
      await channel.consume(this.#options.queueOf(wanted.partition), (message) => {
        if (message === null) this.#again(wanted, consumer)
        else consumer.take(message)
      })
    } catch (error) {
      this.#leave(wanted)
      await consumer.close()
      throw error
    }
  }

  /** The broker ended it: its queue has another leader, or is gone. */
  #again(wanted: Wanted, consumer: Consumer): void {
    if (wanted.consumer !== consumer) return
    this.#leave(wanted)
    void consumer.close()
    void this.#join(wanted)
  }
}

type SendReply = (to: string, id: string, reply: string) => void

/** One channel that consumes one queue, and what of it is not acknowledged. */
class Consumer {
  readonly #channel: Channel
  readonly #deliver: (delivery: Delivery) => void
  readonly #sendReply: SendReply
  /** In the order of delivery; true: done, and not acknowledged yet. */
  readonly #inHand = new Map<ConsumeMessage, boolean>()
  #isFlushing = false
  #isEnded = false

  constructor(channel: Channel, deliver: (delivery: Delivery) => void, sendReply: SendReply) {
    this.#channel = channel
    this.#deliver = deliver
    this.#sendReply = sendReply
  }

  get inHand(): number {
    return this.#inHand.size
  }

  take(message: ConsumeMessage): void {
    if (this.#isEnded) return
    this.#inHand.set(message, false)
    const { replyTo, correlationId } = message.properties as { readonly replyTo?: string; readonly correlationId?: string }
    this.#deliver({
      body: message.content.toString(),
      redelivered: message.fields.redelivered,
      wantsReply: replyTo !== undefined,
      done: (reply) => {
        if (this.#isEnded || this.#inHand.get(message) !== false) return
        this.#inHand.set(message, true)
        if (reply !== undefined && replyTo !== undefined) this.#sendReply(replyTo, correlationId ?? '', reply)
        if (this.#isFlushing) return
        this.#isFlushing = true
        // A whole batch is done at once: most of it is acknowledged by one frame.
        queueMicrotask(() => this.#flush())
      },
    })
  }

  end(): void {
    this.#flush()
    this.#isEnded = true
  }

  close(): Promise<void> {
    this.end()
    return closed(this.#channel)
  }

  #flush(): void {
    this.#isFlushing = false
    if (this.#isEnded) return
    let last: ConsumeMessage | undefined
    let isPrefix = true
    try {
      for (const [message, isDone] of this.#inHand) {
        if (!isDone) {
          if (last !== undefined) this.#channel.ack(last, true)
          last = undefined
          isPrefix = false
          continue
        }
        this.#inHand.delete(message)
        if (isPrefix) last = message
        else this.#channel.ack(message)
      }
      if (last !== undefined) this.#channel.ack(last, true)
    } catch {
      // The channel is closing: what it had is delivered again, and known by then.
    }
  }
}
