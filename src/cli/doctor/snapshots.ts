// Who keeps PostgreSQL from cleaning up: as long as a snapshot is held, every consumed command and every old version stays in its table.
import type { Finding } from './check.ts'
import { countOf, durationOf } from './figures.ts'
import type { Session } from './session.ts'

const HELD_MS_MAX = 5 * 60_000

/** Replication slots have no time; so many transactions are minutes at full speed, and hours at leisure. */
const TRANSACTIONS_MAX = 1_000_000

interface Holder {
  readonly who: string
  readonly release: string
  /** Null: its beginning is not told, to this role or to anybody. */
  readonly heldMs: number | null
  /** Transactions of the server that began since then. */
  readonly transactions: number
}

const HOLDERS = `with holders as (
    select format('%s (pid %s, role %s%s)', coalesce(nullif(a.application_name, ''), a.backend_type), a.pid, a.usename, ', ' || a.state) as who,
        format('select pg_terminate_backend(%s)', a.pid) as release, a.xact_start as since,
        greatest(age(a.backend_xmin), age(a.backend_xid)) as transactions
      from pg_stat_activity a where a.pid <> pg_backend_pid() and coalesce(a.backend_xmin, a.backend_xid) is not null
        and coalesce(a.datname, current_database()) = current_database()
    union all
    select format('prepared transaction %L', gid), format('rollback prepared %L', gid), prepared, age(transaction)
      from pg_prepared_xacts where database = current_database()
    union all
    select format('replication slot %s', slot_name), format('select pg_drop_replication_slot(%L)', slot_name), null, age(xmin)
      from pg_replication_slots where xmin is not null)
  select who, release, (extract(epoch from clock_timestamp() - since) * 1000)::float8 as "heldMs", transactions from holders
    order by transactions desc, since limit 1`

export async function lookAtSnapshots(session: Session, heldMsMax = HELD_MS_MAX): Promise<Finding> {
  const [oldest] = await session.rows<Holder>(HOLDERS)
  if (oldest === undefined) return { status: 'ok', found: 'nobody holds a snapshot: PostgreSQL can clean up' }
  const { who, release, heldMs, transactions } = oldest
  const held = heldMs === null ? `since ${countOf(transactions, 'transaction')} ago` : `for ${durationOf(heldMs)}`
  const found = `the oldest snapshot is held ${held} by ${who}`
  if ((heldMs ?? 0) <= heldMsMax && (heldMs !== null || transactions <= TRANSACTIONS_MAX)) return { status: 'ok', found }
  return {
    status: 'warning',
    found: `${found}: nothing that was consumed since then is cleaned up, and everything gets slower`,
    advice: `let it finish, or end it: ${release}`,
  }
}
