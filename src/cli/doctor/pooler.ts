// Whether a pooler stands before PostgreSQL, and whether it hands connections on after each transaction: then the settings, prepared
// statements and LISTEN of a session are another session's.
import type { Finding } from './check.ts'
import { openSession, type Session } from './session.ts'

export async function lookAtPooler(session: Session): Promise<Finding> {
  // A pooler makes up the process id that it tells its client at the beginning, because a cancel request must come back to it.
  const told = (session.client as unknown as { readonly processID: number | null }).processID
  const backend = await backendOf(session)
  if (told === backend) return { status: 'ok', found: 'no pooler: this is a connection to PostgreSQL itself' }
  // Two sessions that are open at the same time have one backend each, unless somebody lends it to whoever has a transaction.
  const other = await openSession(session.url)
  try {
    const shared = [backend, await backendOf(session)].includes(await backendOf(other))
    if (!shared) return { status: 'ok', found: 'a pooler in session mode stands in front of PostgreSQL' }
    return {
      status: 'fault',
      found:
        'a pooler in transaction mode stands in front of PostgreSQL: settings, prepared statements and LISTEN of a connection are lost behind it',
      advice: 'name PostgreSQL itself in DATABASE_URL, or set the pooler to session mode',
    }
  } finally {
    await other.end()
  }
}

async function backendOf(session: Session): Promise<number> {
  return (await session.row<{ pid: number }>('select pg_backend_pid() as pid')).pid
}
