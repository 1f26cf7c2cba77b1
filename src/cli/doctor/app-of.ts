// Which app lives in a database: its name, its id and its number of partitions are part of what it has at a broker.
import { openSession } from './session.ts'

export interface AppOfDatabase {
  readonly app: string
  readonly databaseId: string
  readonly partitionCount: number
}

/** Undefined: none has been started with it yet. `unknown`: it cannot be looked at. */
export async function appOf(databaseUrl: string): Promise<AppOfDatabase | 'unknown' | undefined> {
  try {
    const session = await openSession(databaseUrl)
    try {
      const { isThere } = await session.row<{ isThere: boolean }>(`select to_regclass('twofold._app') is not null as "isThere"`)
      if (!isThere) return undefined
      // A schema from before databases had an id is brought up to date by the next start, which makes what is at the broker.
      const apps = `select name as app, partition_count as "partitionCount", to_jsonb(a) ->> 'database_id' as "databaseId" from twofold._app a`
      const [app] = await session.rows<Omit<AppOfDatabase, 'databaseId'> & { readonly databaseId: string | null }>(apps)
      return app === undefined || app.databaseId === null ? undefined : { ...app, databaseId: app.databaseId }
    } finally {
      await session.end()
    }
  } catch {
    return 'unknown'
  }
}
