// The connections of SQL handlers: so many at most, opened when they are needed, handed out in the order of asking.
import type { SqlSession, SqlStore } from '../../ports/sql-store.ts'

export class SessionPool {
  readonly #store: SqlStore
  readonly #sizeMax: number
  readonly #idle: SqlSession[] = []
  readonly #waiting: (() => void)[] = []
  #busy = 0

  constructor(store: SqlStore, sizeMax: number) {
    this.#store = store
    this.#sizeMax = sizeMax
  }

  /** Runs `use` on a session of its own. @throws BatchAborted `lost` when none can be opened, and whatever `use` throws */
  async with<Result>(use: (session: SqlSession) => Promise<Result>): Promise<Result> {
    if (this.#busy >= this.#sizeMax) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#busy += 1
    let session: SqlSession | undefined
    try {
      do session = this.#idle.pop()
      while (session !== undefined && !session.usable)
      session ??= await this.#store.open()
      return await use(session)
    } finally {
      if (session?.usable === true) this.#idle.push(session)
      else void session?.close()
      // The place is handed on, so that nobody who comes just now takes it first.
      const next = this.#waiting.shift()
      if (next === undefined) this.#busy -= 1
      else next()
    }
  }

  /** Closes those that nobody uses. */
  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((session) => session.close()))
  }
}
