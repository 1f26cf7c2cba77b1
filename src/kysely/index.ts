// `twofold/kysely`: a typed query builder on a transaction that Twofold has begun. Kysely is an optional peer: whoever imports this has it.
import {
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
} from 'kysely'
import type { Transaction } from '../ports/database.ts'

/**
 * `const db = kysely<DB>(tx)`: Kysely on the transaction of an SQL handler or a projection, or on the `db` of a query. `DB` maps the names of
 * your tables to their rows, as in Kysely's own manual. Everything runs in that transaction, one statement after the other; beginning or
 * ending one throws, because Twofold commits it together with the outcome.
 */
export function kysely<DB>(tx: Transaction): Kysely<DB> {
  return new Kysely<DB>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new TransactionDriver(tx),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  })
}

class TransactionDriver implements Driver {
  readonly #connection: DatabaseConnection

  constructor(tx: Transaction) {
    this.#connection = {
      executeQuery: (query) => execute(tx, query),
      streamQuery: () => {
        throw new Error('kysely(tx) does not stream: read in portions, by key and limit')
      },
    }
  }

  init(): Promise<void> {
    return Promise.resolve()
  }

  acquireConnection(): Promise<DatabaseConnection> {
    return Promise.resolve(this.#connection)
  }

  beginTransaction(): Promise<void> {
    return refused()
  }

  commitTransaction(): Promise<void> {
    return refused()
  }

  rollbackTransaction(): Promise<void> {
    return refused()
  }

  releaseConnection(): Promise<void> {
    return Promise.resolve()
  }

  destroy(): Promise<void> {
    return Promise.resolve()
  }
}

function refused(): Promise<never> {
  return Promise.reject(new Error('kysely(tx) is inside a transaction already: Twofold commits it with the outcome, or rolls it back'))
}

const changing = new Set(['InsertQueryNode', 'UpdateQueryNode', 'DeleteQueryNode', 'MergeQueryNode'])

async function execute<Row>(tx: Transaction, { sql, parameters, query }: CompiledQuery): Promise<QueryResult<Row>> {
  const { rows, rowCount } = await tx.query<Row>(sql, parameters)
  return changing.has(query.kind) ? { rows, numAffectedRows: BigInt(rowCount ?? 0) } : { rows }
}
