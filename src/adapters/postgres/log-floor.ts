// Below which number nothing of a partition can wait any more, so that a take need not walk over what was consumed before: while some
// reader holds a snapshot, consumed rows stay where they are, and every take would visit all of them again.
//
// The floor is exact, not a guess: a row whose number is lower may be committed later than one whose number is higher, and must not be
// passed over. Who inserts holds a lock on the table from before its row gets a number until after its commit. So once all who held it
// after the number N had been given out are gone, every row up to N is visible to whoever looks from then on, or will never be.
//
//   `last` is read, then who writes          a moment later: are all of those gone?        then rows up to `last` have settled
//
// A sweep from the very bottom now and then finds what a row inserted by hand under an old number would be.

/** One look at the log: the last number given out, and the transactions that may insert, as one name each. */
export interface LogLook {
  readonly last: number
  readonly writers: readonly string[]
}

export class LogFloor {
  readonly #floors = new Map<number, number>()
  #lastSeen = 0
  #candidate: { readonly last: number; readonly writers: ReadonlySet<string> } | undefined
  #settled = 0

  of(partition: number): number {
    return this.#floors.get(partition) ?? 0
  }

  /** Two looks after the other, with the first candidate settled at the third at the earliest. */
  look({ last, writers }: LogLook): void {
    const gone = this.#candidate !== undefined && !writers.some((writer) => this.#candidate?.writers.has(writer))
    if (gone) this.#settled = Math.max(this.#settled, this.#candidate?.last ?? 0)
    // These writers were looked at after that number was read, by another statement: no row up to it can be missing among them.
    if (gone || this.#candidate === undefined) this.#candidate = { last: this.#lastSeen, writers: new Set(writers) }
    this.#lastSeen = last
  }

  /**
   * Raises the floors by what a take that began after the last look has found to wait: of each partition the lowest row at least, in order,
   * but for those that are in hand.
   */
  raise(
    partitions: readonly number[],
    waiting: readonly { readonly seq: string; readonly partition: number }[],
    inHand: readonly string[],
  ): void {
    const held = Math.min(...inHand.map(Number), Infinity)
    const firsts = new Map<number, number>()
    for (const { seq, partition } of waiting) if (!firsts.has(partition)) firsts.set(partition, Number(seq))
    for (const partition of partitions) {
      const below = Math.min(firsts.get(partition) ?? Infinity, held) - 1
      this.#floors.set(partition, Math.max(this.of(partition), Math.min(this.#settled, below)))
    }
  }
}
