// Sends replies, on a channel of its own: when the broker closes it, another one is opened, and who consumes is not disturbed.
import type { Channel, ChannelModel } from 'amqplib'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import { closed } from './closed.ts'

const AGAIN = { minMs: 100, maxMs: 5000 }

export class Replies {
  readonly #warn: (fields: object, message: string) => void
  #connection: ChannelModel | undefined
  #channel: Channel | undefined

  constructor(warn: (fields: object, message: string) => void) {
    this.#warn = warn
  }

  async open(connection: ChannelModel, signal: AbortSignal): Promise<void> {
    const channel = await this.#opened(connection)
    signal.throwIfAborted()
    this.#connection = connection
    this.#channel = channel
  }

  lost(): void {
    this.#connection = undefined
    this.#channel = undefined
  }

  /** A reply that cannot be sent is dropped: its outcome is stored, and whoever waits finds it there. */
  send(to: string, id: string, reply: string): void {
    try {
      this.#channel?.sendToQueue(to, Buffer.from(reply), { correlationId: id })
    } catch {
      // The channel is closing, and the next one is on its way.
    }
  }

  async #opened(connection: ChannelModel): Promise<Channel> {
    const channel = await connection.createChannel()
    let reason: unknown
    channel.on('error', (error: Error) => (reason = error))
    channel.on('close', () => {
      if (this.#channel !== channel) return
      this.#channel = undefined
      void this.#openAgain(connection, reason)
    })
    return channel
  }

  async #openAgain(connection: ChannelModel, reason: unknown): Promise<void> {
    // A channel is closed before its connection is: by now it is known which of the two was lost.
    await Promise.resolve()
    for (let attempt = 1; this.#connection === connection; attempt += 1) {
      this.#warn({ reason: String(reason), attempt }, 'RabbitMQ closed the channel of replies; opening another one')
      try {
        const channel = await this.#opened(connection)
        if (this.#connection !== connection) return await closed(channel)
        this.#channel = channel
        return
      } catch {
        await pause(backoffMs(attempt, AGAIN))
      }
    }
  }
}
