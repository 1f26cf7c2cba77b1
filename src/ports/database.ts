// PostgreSQL as user code and subscribers see it.

/** What a transaction offers. `pg`'s client is one. Parameters only: never build SQL from input. */
export interface Transaction {
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<{ rows: Row[]; rowCount: number | null }>
}

/** A database: single statements, and several in one transaction (rolled back when `run` throws). */
export interface Database extends Transaction {
  transaction<Result>(run: (transaction: Transaction) => Promise<Result>): Promise<Result>
}
