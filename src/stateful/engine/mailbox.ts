// Direct commands that wait for the next batch: bounded, and each may leave while it has not been taken.
import type { Work } from './work.ts'

export class Mailbox {
  readonly #works = new Map<string, Work[]>()
  readonly #sizeMax: number
  #size = 0

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax
  }

  /** False: full. */
  add(work: Work): boolean {
    if (this.#size >= this.#sizeMax) return false
    const same = this.#works.get(work.envelope.id)
    if (same) same.push(work)
    else this.#works.set(work.envelope.id, [work])
    this.#size += 1
    return true
  }

  /** Takes back what has not been handed out; false when it has. */
  remove(work: Work): boolean {
    const same = this.#works.get(work.envelope.id)
    const at = same?.indexOf(work) ?? -1
    if (same === undefined || at < 0) return false
    same.splice(at, 1)
    if (same.length === 0) this.#works.delete(work.envelope.id)
    this.#size -= 1
    return true
  }

  /** The oldest, at most about `limit`, in order of arrival. */
  take(limit: number): Work[] {
    const taken: Work[] = []
    for (const [id, works] of this.#works) {
      if (taken.length >= limit) break
      taken.push(...works)
      this.#works.delete(id)
    }
    this.#size -= taken.length
    return taken
  }
}
