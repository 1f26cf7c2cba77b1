// The session of one lane: opened at its first use, and again after it was closed.
import { BatchAborted, type EffectSession, type EffectStore } from '../../ports/effect-store.ts'

export class LaneSession {
  readonly #store: EffectStore
  readonly #stopping: AbortSignal
  #session: Promise<EffectSession> | undefined

  /** `stopping`: aborted once no new one is to be opened. */
  constructor(store: EffectStore, stopping: AbortSignal) {
    this.#store = store
    this.#stopping = stopping
  }

  /** @throws BatchAborted `lost` when the database cannot be reached, or the lane is stopping */
  open(): Promise<EffectSession> {
    if (this.#session !== undefined) return this.#session
    if (this.#stopping.aborted) return Promise.reject(new BatchAborted('lost', 'this instance is stopping'))
    const opening = this.#store.open()
    this.#session = opening
    opening.catch(() => {
      if (this.#session === opening) this.#session = undefined
    })
    return opening
  }

  async close(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await session?.then((open) => open.close()).catch(() => undefined)
  }
}
