// A fresh database for a test, on the run's embedded PostgreSQL. One that is left with open connections fails its test.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'

export interface TestDatabase {
  readonly url: string
  /** Removes it. Rejects when connections are still open after five seconds, naming them: something was not closed. */
  drop(): Promise<void>
}

export async function testDatabase(): Promise<TestDatabase> {
  const server = inject('postgresUrl')
  const name = `test_${randomBytes(6).toString('hex')}`
  await query(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => drop(server, name) }
}

async function drop(server: string, name: string): Promise<void> {
  const end = performance.now() + 5000
  let open = await connectionsTo(server, name)
  while (open.length > 0 && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    open = await connectionsTo(server, name)
  }
  await query(server, `drop database ${name} with (force)`)
  if (open.length > 0) throw new Error(`connections were left open: ${open.join('; ')}`)
}

/** Clients only: autovacuum comes and goes as it likes. */
async function connectionsTo(server: string, name: string): Promise<string[]> {
  const rows = await query(
    server,
    `select application_name as application, left(query, 80) as query from pg_stat_activity
      where datname = '${name}' and backend_type = 'client backend'`,
  )
  return rows.map(({ application, query: last }) => `${application} (${last})`)
}

async function query(url: string, text: string): Promise<Record<string, string>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Record<string, string>>(text)).rows
  } finally {
    await client.end()
  }
}
