// The secret that instances of one app share without being told: made with the database, read by whoever may read the database.
import { TwofoldError } from '../../errors.ts'
import type { Database } from '../../ports/database.ts'

/** @throws TwofoldError SCHEMA_CHANGED when somebody has removed it */
export async function readSecret(database: Database): Promise<string> {
  const { rows } = await database.query<{ value: string }>(`select value from twofold._secret where name = 'direct'`)
  const value = rows[0]?.value
  if (value !== undefined) return value
  throw new TwofoldError(
    'SCHEMA_CHANGED',
    'the row of twofold._secret is gone: set TWOFOLD_SECRET to the same text for all instances of the app',
  )
}
