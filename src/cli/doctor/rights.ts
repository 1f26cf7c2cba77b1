// Whether this role may do what an instance does: make tables, and end the connections of an instance that fell silent.
import { serverFaults } from '../../adapters/postgres/preflight.ts'
import { faultOf, type Finding } from './check.ts'
import { countOf } from './figures.ts'
import type { Session } from './session.ts'

// Reading and writing is needed by everybody; whoever makes the hourly tables of outcomes must own the table they belong to.
const TABLES = `select current_user as me, min(c.relowner::regrole::text) as owner,
    (count(*) filter (where not (has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
      and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete'))))::int as closed,
    (count(*) filter (where not pg_has_role(c.relowner, 'usage')))::int as foreign
  from pg_class c where c.relnamespace = to_regnamespace('twofold') and c.relkind in ('r', 'p') and not c.relispartition`

interface Tables {
  readonly me: string
  readonly owner: string | null
  readonly closed: number
  readonly foreign: number
}

export async function lookAtRights(session: Session): Promise<Finding> {
  const forbidden = (await serverFaults(session.client, session.shown)).find(({ code }) => code === 'DATABASE_FORBIDDEN')
  if (forbidden !== undefined) return faultOf(forbidden)
  const { me, owner, closed, foreign } = await session.row<Tables>(TABLES)
  const advice = `connect as ${owner}, or: grant ${owner} to ${me}`
  if (closed > 0)
    return { status: 'fault', found: `role ${me} may not read and write ${countOf(closed, 'table')} of schema twofold`, advice }
  if (foreign > 0)
    return {
      status: 'warning',
      found: `the tables of schema twofold belong to ${owner}: ${me} can neither make a table for each hour's outcomes nor drop old ones`,
      advice,
    }
  return { status: 'ok', found: `role ${me} may make and change what Twofold keeps` }
}

// As PostgreSQL itself decides it: who has the rights of a role may end its connections, pg_signal_backend those of all but superusers.
const OUT_OF_REACH = `select string_agg(distinct r.rolname, ', ') as roles, current_user as me
  from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
  where a.datname = current_database() and a.application_name like 'twofold%' and not pg_has_role(r.oid, 'usage')
    and (r.rolsuper or not pg_has_role('pg_signal_backend', 'usage'))`

export async function lookAtTakeoverRights(session: Session): Promise<Finding> {
  const { roles, me } = await session.row<{ roles: string | null; me: string }>(OUT_OF_REACH)
  if (roles === null) return { status: 'ok', found: `role ${me} may end the connections of every instance that runs now` }
  return {
    status: 'warning',
    found: `instances connect as ${roles}, and ${me} may not end their connections: when one falls silent, its successor waits up to half a lease for its locks`,
    advice: `use the same role for all instances, or: grant pg_signal_backend to ${me}`,
  }
}
