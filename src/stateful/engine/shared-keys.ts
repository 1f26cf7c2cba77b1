// Keys that other owners were seen to write too: for a while they are locked before they are read.
import { byKey, type EffectBatch, type EffectSession } from '../../ports/effect-store.ts'
import { ByKey, cellKey } from './cells.ts'

const SHARED_MS = 30_000

/** So many are remembered; beyond it, those that were noted longest ago are forgotten. */
const SHARED_KEYS_MAX = 10_000

export class SharedKeys {
  readonly #now: () => number
  readonly #until = new Map<string, number>()

  constructor(now: () => number) {
    this.#now = now
  }

  has(service: string, key: string): boolean {
    return this.#until.size > 0 && this.#isShared(cellKey(service, key))
  }

  /** Notes those of a refused batch whose version moved under our feet. */
  async note(session: EffectSession, { writes, reads }: EffectBatch): Promise<void> {
    this.#forgetOld()
    const seen = [...writes.map(({ service, key, from }) => ({ service, key, version: from })), ...reads].toSorted(byKey)
    if (seen.length === 0) return
    const versions = new ByKey<number>()
    for (const { service, key, version } of await session.load(seen)) versions.set(service, key, version)
    for (const { service, key, version } of seen) {
      if ((versions.get(service, key) ?? 0) === version) continue
      const id = cellKey(service, key)
      // To the end, so that the first are those that were noted longest ago.
      this.#until.delete(id)
      this.#until.set(id, this.#now() + SHARED_MS)
    }
  }

  #forgetOld(): void {
    for (const id of this.#until.keys()) {
      if (this.#until.size < SHARED_KEYS_MAX) return
      this.#until.delete(id)
    }
  }

  #isShared(id: string): boolean {
    const until = this.#until.get(id)
    if (until === undefined) return false
    if (until > this.#now()) return true
    this.#until.delete(id)
    return false
  }
}
