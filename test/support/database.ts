// A fresh database for a test, on the run's embedded PostgreSQL. One that is left with open connections fails its test.
import { inject } from 'vitest'
import { createDatabase, dropDatabase, query } from './fresh-database.ts'

export interface TestDatabase {
  readonly url: string
  /** Removes it. Rejects when connections are still open after five seconds, naming them: something was not closed. */
  drop(): Promise<void>
}

/** `server`: the run's own where none is given. */
export async function testDatabase(server: string = inject('postgresUrl')): Promise<TestDatabase> {
  const url = await createDatabase(server)
  return { url, drop: () => drop(server, url) }
}

async function drop(server: string, url: string): Promise<void> {
  const end = performance.now() + 5000
  let open = await connectionsTo(server, url)
  while (open.length > 0 && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    open = await connectionsTo(server, url)
  }
  await dropDatabase(server, url)
  if (open.length > 0) throw new Error(`connections were left open: ${open.join('; ')}`)
}

/** Clients only: autovacuum comes and goes as it likes. */
async function connectionsTo(server: string, url: string): Promise<string[]> {
  const rows = await query(
    server,
    `select application_name as application, left(query, 80) as query from pg_stat_activity
      where datname = '${new URL(url).pathname.slice(1)}' and backend_type = 'client backend'`,
  )
  return rows.map(({ application, query: last }) => `${application} (${last})`)
}
