// Look-ups of single rows, gathered as appends are: what is asked for while one query is under way shares the next. No timer waits for more.
// A query for each request would cost PostgreSQL more than the request's share of the batch that runs its command.

/** One query takes at most so many; how many may wait is bounded by the requests in hand. */
const KEYS_MAX = 1000

interface Asked<Value> {
  readonly key: string
  readonly resolve: (value: Value | undefined) => void
  readonly reject: (error: unknown) => void
}

export class GatheredLookups<Value> {
  readonly #look: (keys: readonly string[]) => Promise<ReadonlyMap<string, Value>>
  readonly #asked: Asked<Value>[] = []
  #looking = false

  /** `look` answers for all of the keys that exist; a key may be among them twice. */
  constructor(look: (keys: readonly string[]) => Promise<ReadonlyMap<string, Value>>) {
    this.#look = look
  }

  /** What is there as of a moment after this call. */
  find(key: string): Promise<Value | undefined> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ key, resolve, reject })
      if (!this.#looking) void this.#lookForAll()
    })
  }

  async #lookForAll(): Promise<void> {
    this.#looking = true
    // Whatever is asked for in this turn of the event loop shares the first query already.
    await new Promise(setImmediate)
    while (this.#asked.length > 0) await this.#lookFor(this.#asked.splice(0, KEYS_MAX))
    this.#looking = false
  }

  async #lookFor(asked: readonly Asked<Value>[]): Promise<void> {
    try {
      const found = await this.#look(asked.map(({ key }) => key))
      for (const { key, resolve } of asked) resolve(found.get(key))
    } catch (error) {
      for (const { reject } of asked) reject(error)
    }
  }
}
