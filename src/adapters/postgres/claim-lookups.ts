// Look-ups of claims, gathered as appends are: what is asked for while one query is under way shares the next. No timer waits for more.
// A query for each keyed request would cost PostgreSQL more than its share of the batch that runs the command.
import type { StoredClaim } from '../../ports/command-log.ts'
import type { Database } from '../../ports/database.ts'
import { plainArray } from './array-literal.ts'
import { CLAIM_COLUMNS, storedClaim, type ClaimRow } from './claim-rows.ts'

/** One query takes at most so many; how many may wait is bounded by the requests in hand. */
const HASHES_MAX = 1000

const FIND = `select ${CLAIM_COLUMNS} from twofold._claim where hash = any($1::text[])`

interface Asked {
  readonly hash: string
  readonly resolve: (claim: StoredClaim | undefined) => void
  readonly reject: (error: unknown) => void
}

export class ClaimLookups {
  readonly #database: Pick<Database, 'query'>
  readonly #asked: Asked[] = []
  #looking = false

  constructor(database: Pick<Database, 'query'>) {
    this.#database = database
  }

  /** The claim as of a moment after this call. */
  find(hash: string): Promise<StoredClaim | undefined> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ hash, resolve, reject })
      if (!this.#looking) void this.#lookForAll()
    })
  }

  async #lookForAll(): Promise<void> {
    this.#looking = true
    // Whatever is asked for in this turn of the event loop shares the first query already.
    await new Promise(setImmediate)
    while (this.#asked.length > 0) await this.#look(this.#asked.splice(0, HASHES_MAX))
    this.#looking = false
  }

  async #look(asked: readonly Asked[]): Promise<void> {
    try {
      const { rows } = await this.#database.query<ClaimRow>(FIND, [plainArray(asked.map(({ hash }) => hash))])
      const claims = new Map(rows.map((row) => [row.hash, storedClaim(row)]))
      for (const { hash, resolve } of asked) resolve(claims.get(hash))
    } catch (error) {
      for (const { reject } of asked) reject(error)
    }
  }
}
