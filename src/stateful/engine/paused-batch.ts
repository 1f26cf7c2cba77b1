// What is left of a batch that has paused, because its handlers are slow: the next batch, as far as it is still ours then.
import type { Collected } from '../sql/divert.ts'
import type { HeldPartitions } from './held-partitions.ts'
import { rowsOf, type Piece } from './pieces.ts'
import { settle, type Work } from './work.ts'

export class PausedBatch {
  #rest: Collected | undefined

  get works(): readonly Work[] {
    return this.#rest?.works ?? []
  }

  /** `left`: what is not stored of this batch. False: nothing, so it has not paused. */
  keep(batch: Collected, left: readonly Piece[]): boolean {
    if (left.length === 0) return false
    const [works, rows] = [left.flatMap((piece) => piece.works), left.flatMap((piece) => piece.consumed)]
    this.#rest = { ...batch, works, rows, left: [] }
    return true
  }

  /** Without what is of partitions that were given up since: that goes back. */
  take(held: HeldPartitions): Collected | undefined {
    const rest = this.#rest
    this.#rest = undefined
    const lost = rest?.works.filter(({ partition }) => !held.has(partition)) ?? []
    if (rest === undefined || lost.length === 0) return rest
    for (const work of lost) settle(work, { status: 'deferred' })
    const lostRows = rowsOf(lost)
    const works = rest.works.filter(({ partition }) => held.has(partition))
    return { ...rest, works, rows: rest.rows.filter((row) => !lostRows.has(row)) }
  }

  /** All of it goes back: what it came behind may come again, and must be there first. */
  defer(): void {
    for (const work of this.works) settle(work, { status: 'deferred' })
    this.#rest?.stored?.(false)
    this.#rest = undefined
  }
}
