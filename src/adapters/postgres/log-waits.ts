// Whether commands wait in the log that later ones must not overtake, for those who otherwise have no business there: of which partitions, gathered
// as all look-ups are.
import type { Database } from '../../ports/database.ts'
import { plainArray } from './array-literal.ts'
import { GatheredLookups } from './gathered-lookups.ts'

/** Nobody was told that those in doubt are taken: they have no place before others. */
const COUNTS = 'not c.in_doubt'

const WAITS = `select p.partition from unnest($1::int[]) p(partition)
  cross join lateral (select 1 from twofold._command c where c.partition = p.partition and ${COUNTS} limit 1) waits`

export class LogWaits {
  readonly #database: Database
  readonly #lookups = new GatheredLookups((partitions) => this.#look(partitions))

  constructor(database: Database) {
    this.#database = database
  }

  async of(partition: number): Promise<boolean> {
    return (await this.#lookups.find(String(partition))) === true
  }

  async any(): Promise<boolean> {
    const { rowCount } = await this.#database.query(`select 1 from twofold._command c where ${COUNTS} limit 1`)
    return rowCount === 1
  }

  async #look(partitions: readonly string[]): Promise<ReadonlyMap<string, boolean>> {
    const { rows } = await this.#database.query<{ partition: number }>(WAITS, [plainArray([...new Set(partitions)])])
    return new Map(rows.map(({ partition }) => [String(partition), true]))
  }
}
