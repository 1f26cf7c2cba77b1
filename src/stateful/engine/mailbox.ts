// Direct commands that wait for the next batch: bounded by number and by size, and each may leave while it has not been taken.
import type { Work } from './work.ts'

export class Mailbox {
  readonly #sizeMax: number
  readonly #charactersMax: number
  #works: Work[] = []
  #characters = 0

  constructor(sizeMax: number, charactersMax: number = CHARACTERS_MAX) {
    this.#sizeMax = sizeMax
    this.#charactersMax = charactersMax
  }

  get size(): number {
    return this.#works.length
  }

  /** False: full. */
  add(work: Work): boolean {
    const characters = this.#characters + charactersOf(work)
    if (this.#works.length >= this.#sizeMax || characters > this.#charactersMax) return false
    this.#works.push(work)
    this.#characters = characters
    return true
  }

  /** What was handed out comes back before what has arrived since; it had its place already, so there is no bound. */
  putBack(works: readonly Work[]): void {
    this.#works = [...works, ...this.#works]
    for (const work of works) this.#characters += charactersOf(work)
  }

  /** Takes back what has not been handed out, with what is known of it by now; undefined when it has. */
  remove(work: Work): Work | undefined {
    const at = this.#works.findIndex(({ origin }) => origin === work.origin)
    if (at < 0) return undefined
    const [removed] = this.#works.splice(at, 1)
    this.#characters -= charactersOf(work)
    return removed
  }

  /** The oldest, at most `limit`, in order of arrival. */
  take(limit: number): Work[] {
    if (this.#works.length <= limit) {
      const all = this.#works
      this.#works = []
      this.#characters = 0
      return all
    }
    const taken = this.#works.splice(0, limit)
    for (const work of taken) this.#characters -= charactersOf(work)
    return taken
  }
}

const CHARACTERS_MAX = 64 * 1024 * 1024

function charactersOf({ envelope }: Work): number {
  return envelope.input.length
}
