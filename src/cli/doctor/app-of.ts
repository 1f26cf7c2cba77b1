// Which app lives in a database: its name and its number of partitions are part of what it has at a broker.
import { openSession } from './session.ts'

export interface AppOfDatabase {
  readonly app: string
  readonly partitionCount: number
}

/** Undefined: none has been started with it yet. `unknown`: it cannot be looked at. */
export async function appOf(databaseUrl: string): Promise<AppOfDatabase | 'unknown' | undefined> {
  try {
    const session = await openSession(databaseUrl)
    try {
      const { isThere } = await session.row<{ isThere: boolean }>(`select to_regclass('twofold._app') is not null as "isThere"`)
      if (!isThere) return undefined
      const [app] = await session.rows<AppOfDatabase>('select name as app, partition_count as "partitionCount" from twofold._app')
      return app
    } finally {
      await session.end()
    }
  } catch {
    return 'unknown'
  }
}
