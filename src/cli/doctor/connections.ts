// Whether one more instance finds room.
import { CONNECTIONS_MAX } from '../../adapters/postgres/database.ts'
import { SQL_CONNECTIONS_MAX } from '../../stateful/engine/engine.ts'
import type { Finding } from './check.ts'
import type { Session } from './session.ts'

/** Queries and subscribers share a pool; membership, signals and log have one each; the engine writes, reads, and locks several keys. */
const PER_INSTANCE = CONNECTIONS_MAX + 3 + 3

const LIMITS = `select count(*)::int as used, least(
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
      - coalesce(current_setting('reserved_connections', true)::int, 0),
    (select nullif(datconnlimit, -1) from pg_database where datname = current_database()),
    (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user)) as allowed
  from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`

export async function lookAtConnections(session: Session): Promise<Finding> {
  const { used, allowed } = await session.row<{ used: number; allowed: number }>(LIMITS)
  const found = `${used} of ${allowed} connections are in use; an instance takes up to ${PER_INSTANCE}, and up to ${SQL_CONNECTIONS_MAX} more where it has SQL handlers`
  if (allowed - used >= PER_INSTANCE) return { status: 'ok', found }
  return { status: 'warning', found, advice: 'raise max_connections (or the limit of the role or database), or run fewer instances' }
}
