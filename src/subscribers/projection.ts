// A projection keeps a read model in SQL. Its rows and its cursor commit together: exactly once.
import type { Transaction } from '../ports/database.ts'
import type { AnyOf, AnyStored, Contracts, Start } from './subscriber.ts'

/** A projection as a component of an app. */
export interface Projection {
  readonly side: 'projection'
  readonly name: string
  readonly from: Contracts
  readonly start: Start
  readonly tables: string
  readonly batch: (events: readonly AnyStored[], transaction: Transaction) => Promise<void>
}

/**
 * Declares a read model. `tables` is the SQL that makes its tables, run once when the projection is registered. `batch` gets up to
 * some thousand events at a time, in order within each key, inside the transaction that moves the cursor: write all of them with one
 * statement, rows sorted by key. Default start: `beginning`.
 */
export function projection<From extends Contracts>(
  name: string,
  spec: { from: From; start?: Start; tables: string; batch: (events: readonly AnyOf<From>[], transaction: Transaction) => Promise<void> },
): Projection {
  return {
    side: 'projection',
    name,
    from: spec.from,
    start: spec.start ?? 'beginning',
    tables: spec.tables,
    batch: spec.batch as Projection['batch'],
  }
}
