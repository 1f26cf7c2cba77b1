// The connections of SQL handlers: so many at most, opened when they are needed, handed out in the order of asking.
import { BatchAborted } from '../../ports/effect-store.ts'
import type { SqlSession, SqlStore } from '../../ports/sql-store.ts'

export class SessionPool {
  readonly #store: SqlStore
  readonly #sizeMax: number
  readonly #idle: SqlSession[] = []
  readonly #waiting: (() => void)[] = []
  /** Sessions that cannot be used again, until they are closed. */
  readonly #closing = new Set<Promise<void>>()
  #busy = 0

  constructor(store: SqlStore, sizeMax: number) {
    this.#store = store
    this.#sizeMax = sizeMax
  }

  /**
   * Runs `use` on a session of its own. Nobody waits for one any longer when `signal` is aborted.
   * @throws BatchAborted `lost` when none can be had, and whatever `use` throws
   */
  async with<Result>(use: (session: SqlSession) => Promise<Result>, signal: AbortSignal): Promise<Result> {
    if (this.#busy < this.#sizeMax) this.#busy += 1
    else if (!(await this.#place(signal))) throw new BatchAborted('lost', 'it was given up while it waited for a connection')
    let session: SqlSession | undefined
    try {
      do session = this.#idle.pop()
      while (session !== undefined && !session.usable)
      session ??= await this.#store.open()
      return await use(session)
    } finally {
      if (session?.usable === true) this.#idle.push(session)
      else if (session !== undefined) this.#discard(session)
      // The place is handed on, so that nobody who comes just now takes it first.
      const next = this.#waiting.shift()
      if (next === undefined) this.#busy -= 1
      else next()
    }
  }

  /** False: given up before there was one. */
  #place(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const had = (): void => {
        signal.removeEventListener('abort', givenUp)
        resolve(true)
      }
      const givenUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(had), 1)
        resolve(false)
      }
      if (signal.aborted) return resolve(false)
      this.#waiting.push(had)
      signal.addEventListener('abort', givenUp, { once: true })
    })
  }

  /** Closes those that nobody uses. Returns when those that could not be used again are closed too. */
  async close(): Promise<void> {
    for (const session of this.#idle.splice(0)) this.#discard(session)
    await Promise.all(this.#closing)
  }

  /** Whoever used it does not wait for that: its place is free. */
  #discard(session: SqlSession): void {
    const closing = session
      .close()
      .catch(() => undefined)
      .finally(() => void this.#closing.delete(closing))
    this.#closing.add(closing)
  }
}
