// Which app lives in a database: its name, its id and its number of partitions are part of what it has at a broker.
import { openSession } from './session.ts'

export interface AppOfDatabase {
  readonly app: string
  readonly databaseId: string
  readonly partitionCount: number
  /** It has its id from another database, and is refused at a start with a broker. */
  readonly isCopy: boolean
}

interface Row {
  readonly app: string
  readonly partitionCount: number
  readonly databaseId: string | null
  readonly origin: string | null
}

// A schema from before databases had an id is brought up to date by the next start, which makes what is at the broker.
const APPS = `select name as app, partition_count as "partitionCount", to_jsonb(a) ->> 'database_id' as "databaseId", to_jsonb(a) ->> 'origin' as origin
  from twofold._app a`

/** Undefined: none has been started with it yet. `unknown`: it cannot be looked at. */
export async function appOf(databaseUrl: string): Promise<AppOfDatabase | 'unknown' | undefined> {
  try {
    const session = await openSession(databaseUrl)
    try {
      const { isThere } = await session.row<{ isThere: boolean }>(`select to_regclass('twofold._app') is not null as "isThere"`)
      if (!isThere) return undefined
      const [row] = await session.rows<Row>(APPS)
      if (row === undefined || row.databaseId === null) return undefined
      const { app, partitionCount, databaseId, origin } = row
      const { here } = await session.row<{ here: string | null }>('select twofold.database_origin() as here')
      return { app, partitionCount, databaseId, isCopy: origin !== null && here !== null && origin !== here }
    } finally {
      await session.end()
    }
  } catch {
    return 'unknown'
  }
}
