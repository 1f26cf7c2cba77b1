// Committed states, read from the primary.
import type { Database } from '../../ports/database.ts'
import type { Entities, StoredEntity } from '../../ports/entities.ts'

export class PostgresEntities implements Entities {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async read(service: string, key: string): Promise<StoredEntity | undefined> {
    const { rows } = await this.#database.query<{ state: string; version: string; shape: number }>(
      'select state, version, shape from twofold._entity where service = $1 and key = $2 and state is not null',
      [service, key],
    )
    const [row] = rows
    return row && { ...row, version: Number(row.version) }
  }
}
