// Direct commands that wait for the next batch: bounded, and each may leave while it has not been taken.
import type { Work } from './work.ts'

export class Mailbox {
  readonly #sizeMax: number
  #works: Work[] = []

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax
  }

  get size(): number {
    return this.#works.length
  }

  /** False: full. */
  add(work: Work): boolean {
    if (this.#works.length >= this.#sizeMax) return false
    this.#works.push(work)
    return true
  }

  /** What was handed out comes back before what has arrived since; it had its place already, so there is no bound. */
  putBack(works: readonly Work[]): void {
    this.#works = [...works, ...this.#works]
  }

  /** Takes back what has not been handed out; false when it has. */
  remove(work: Work): boolean {
    const at = this.#works.findIndex(({ origin }) => origin === work.origin)
    if (at < 0) return false
    this.#works.splice(at, 1)
    return true
  }

  /** The oldest, at most `limit`, in order of arrival. */
  take(limit: number): Work[] {
    if (this.#works.length > limit) return this.#works.splice(0, limit)
    const all = this.#works
    this.#works = []
    return all
  }
}
