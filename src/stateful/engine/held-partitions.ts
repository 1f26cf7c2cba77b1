// The partitions this instance may write, each with the epoch it was taken under and the number of its last event.

interface Held {
  readonly epoch: string
  lastEvent: number
}

export class HeldPartitions {
  readonly #held = new Map<number, Held>()

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

  take(partition: number, epoch: string, lastEvent: number): void {
    this.#held.set(partition, { epoch, lastEvent })
  }

  /** After a commit, or after reading the log anew. */
  setLastEvent(partition: number, seq: number): void {
    const held = this.#held.get(partition)
    if (held) held.lastEvent = seq
  }

  drop(partition: number): void {
    this.#held.delete(partition)
  }
}
