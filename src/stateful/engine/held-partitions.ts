// The partitions this instance may write, each with the epoch it was taken under and the number of its last event.

interface Held {
  readonly epoch: string
  lastEvent: number
  /** Its former owner died: rows up to this one run one by one. */
  readonly abandonedUntil: bigint | undefined
}

export class HeldPartitions {
  readonly #held = new Map<number, Held>()
  readonly #abandoned = new Set<number>()

  has(partition: number): boolean {
    return this.#held.has(partition)
  }

  get numbers(): number[] {
    return [...this.#held.keys()]
  }

  epochOf(partition: number): string {
    return this.#held.get(partition)?.epoch ?? '-1'
  }

  lastEvent(partition: number): number {
    return this.#held.get(partition)?.lastEvent ?? 0
  }

  take(partition: number, epoch: string, lastEvent: number, abandonedUntil?: bigint): void {
    this.#held.set(partition, { epoch, lastEvent, abandonedUntil })
    if (abandonedUntil !== undefined) this.#abandoned.add(partition)
  }

  /** Partitions whose former owner died, until what it left has run. */
  get abandoned(): ReadonlySet<number> {
    return this.#abandoned
  }

  /** Whether a row may hold what ended the former owner. */
  isLeftBehind(partition: number, row: string): boolean {
    const until = this.#abandoned.has(partition) ? this.#held.get(partition)?.abandonedUntil : undefined
    return until !== undefined && BigInt(row) <= until
  }

  /** What the former owner left has run. */
  cleared(partition: number): void {
    this.#abandoned.delete(partition)
  }

  /** After a commit, or after reading the log anew. */
  setLastEvent(partition: number, seq: number): void {
    const held = this.#held.get(partition)
    if (held) held.lastEvent = seq
  }

  drop(partition: number): void {
    this.#held.delete(partition)
    this.#abandoned.delete(partition)
  }
}
