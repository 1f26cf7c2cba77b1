// Which queues are full. RabbitMQ refuses a message in the same words whether its queue is full or the broker failed, and only the first says that it
// was not taken.
import { pause } from '../../runtime/backoff.ts'

/** How long a queue that was found full counts as full: many are refused at a time. */
const KNOWN_MS = 250
const ASK_MS_MAX = 2000

/** A quorum queue that was full takes messages again once it is below this share of its bound. */
const SOFT_SHARE = 0.8

export class FullQueues {
  readonly #lengthOf: (partition: number) => Promise<number | undefined>
  readonly #lengthMaxOf: (partition: number) => number
  readonly #fullUntil = new Map<number, number>()
  readonly #asked = new Map<number, Promise<boolean>>()

  constructor(lengthOf: (partition: number) => Promise<number | undefined>, lengthMaxOf: (partition: number) => number) {
    this.#lengthOf = lengthOf
    this.#lengthMaxOf = lengthMaxOf
  }

  /** False as well where it cannot be asked. */
  async isFull(partition: number): Promise<boolean> {
    if (performance.now() < (this.#fullUntil.get(partition) ?? 0)) return true
    const asked = this.#asked.get(partition) ?? this.#ask(partition).finally(() => this.#asked.delete(partition))
    this.#asked.set(partition, asked)
    return asked
  }

  async #ask(partition: number): Promise<boolean> {
    const length = await Promise.race([this.#lengthOf(partition), pause(ASK_MS_MAX)])
    if (length === undefined || length < this.#lengthMaxOf(partition) * SOFT_SHARE) return false
    this.#fullUntil.set(partition, performance.now() + KNOWN_MS)
    return true
  }
}
