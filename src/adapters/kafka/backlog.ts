// How many messages wait at the broker: counted now and then while messages are published, so that too many are refused.
import { TwofoldError } from '../../errors.ts'
import type { Cluster } from './cluster.ts'
import { committedOffsets, edgeOf } from './offsets.ts'

export interface BacklogOptions {
  readonly cluster: Cluster
  readonly waitingMax: number
  /** How far a partition is done that is consumed in this process. */
  readonly doneTo: (partition: number) => number | undefined
}

const EVERY_MS = 1_000
/** After a refusal, so that it does not outlast its reason. */
const EVERY_MS_FULL = 100

export class Backlog {
  readonly #options: BacklogOptions
  #counted = 0
  #sinceCount = 0
  #countedAt = -Infinity
  #isCounting = false

  constructor(options: BacklogOptions) {
    this.#options = options
  }

  /** One more is published. @throws TwofoldError BACKLOG_FULL */
  admit(): void {
    const isFull = this.#counted + this.#sinceCount >= this.#options.waitingMax
    if (performance.now() - this.#countedAt > (isFull ? EVERY_MS_FULL : EVERY_MS)) void this.#count()
    if (isFull)
      throw new TwofoldError('BACKLOG_FULL', `${this.#options.waitingMax} commands wait in Kafka; send it again later`, {
        retryAfterSeconds: 2,
      })
    this.#sinceCount += 1
  }

  /** A partition that cannot be asked is left out. */
  async waiting(partitions: readonly number[]): Promise<Map<number, number>> {
    const { cluster, doneTo } = this.#options
    // First how far they are done, then where they end: the other way round, what comes in between would be less than none.
    const done = await committedOffsets(cluster, partitions)
    const fresh = partitions.filter((partition) => !done.has(partition))
    const [ends, firsts] = await Promise.all([edgeOf(cluster, partitions, 'end'), edgeOf(cluster, fresh, 'first')])
    return new Map(
      [...ends].flatMap(([partition, end]) => {
        const from = done.get(partition) ?? firsts.get(partition)
        return from === undefined ? [] : [[partition, Math.max(0, end - Math.max(from, doneTo(partition) ?? 0))] as const]
      }),
    )
  }

  async #count(): Promise<void> {
    if (this.#isCounting) return
    this.#isCounting = true
    this.#countedAt = performance.now()
    // What is published while this counts may be counted twice, until the next count.
    const before = this.#sinceCount
    try {
      const waiting = await this.waiting(Array.from({ length: this.#options.cluster.partitionCount }, (_, at) => at))
      this.#counted = [...waiting.values()].reduce((sum, each) => sum + each, 0)
      this.#sinceCount -= before
    } catch {
      // It cannot be asked: what was counted last stands.
    }
    this.#isCounting = false
  }
}
