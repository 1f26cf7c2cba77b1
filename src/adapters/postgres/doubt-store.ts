// Commands in doubt, as rows of the log that say so. Their owners hand them to the broker as they do with every row; gateways, which join what waits
// in the log so that nothing overtakes it, pass over these.
import { encodeEnvelope, type Envelope } from '../../contract/envelope.ts'
import type { Database } from '../../ports/database.ts'
import type { DoubtStore } from '../../ports/doubt-store.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import { plainArray, textArray } from './array-literal.ts'

const KEEP = `insert into twofold._command (partition, first_id, last_id, count, body, in_doubt)
  select partition, id, id, 1, body, true from unnest($1::int[], $2::uuid[], $3::text[]) t(partition, id, body)`

export class PostgresDoubtStore implements DoubtStore {
  readonly #database: Database
  readonly #slots: SlotMap

  constructor(database: Database, slots: SlotMap) {
    this.#database = database
    this.#slots = slots
  }

  async keep(envelopes: readonly Envelope[]): Promise<void> {
    await this.#database.query(KEEP, [
      plainArray(envelopes.map(({ service, keys }) => partitionOf(this.#slots, service, keys[0] ?? ''))),
      plainArray(envelopes.map(({ id }) => id)),
      textArray(envelopes.map(encodeEnvelope)),
    ])
  }
}
