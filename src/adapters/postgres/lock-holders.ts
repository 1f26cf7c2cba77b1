// Connections that may hold row locks in a transaction while their process does not run: a stopped process keeps what it has locked, and a
// takeover would wait for it. They bear a name that says whose they are, so that whoever takes over can end exactly those.
import type { Database } from '../../ports/database.ts'
import { pause } from '../../runtime/backoff.ts'
import type { Logger } from '../../runtime/logger.ts'
import { sqlState } from './pg-errors.ts'

const LOCK_HOLDER_PREFIX = 'twofold locks '

/**
 * The `application_name` of every connection on which this instance keeps locks over more than one statement: those of cross batches and of
 * SQL handlers. The successor of an instance whose lease has ended terminates the backends of that name.
 */
export function lockHolderName(instanceId: string): string {
  return `${LOCK_HOLDER_PREFIX}${instanceId}`
}

/** Terminated backends are waited for so long, all of them together: their locks are free only then. */
const ENDING_MS_MAX = 500
const LOOK_MS = 10

// Only of owners whose lease has ended by the database's clock, and only while partitions that are about to be claimed are theirs. All are
// told to end, and none is waited for here: several that are slow would together outlast what a statement of a short lease may take.
const END_LOCK_HOLDERS = `with former as materialized (
    select distinct p.owner from twofold._partition p where p.partition = any($1::int[]) and p.owner is not null and p.owner <> $2
      and not exists (select 1 from twofold._instance i where i.id = p.owner and i.lease_until > clock_timestamp()))
  select former.owner, count(*) filter (where pg_terminate_backend(a.pid))::int as ended
    from former join pg_stat_activity a on a.application_name = $3 || former.owner::text and a.datname = current_database()
    group by former.owner`

const STILL_THERE = 'select 1 from pg_stat_activity where application_name = any($1::text[]) and datname = current_database()'

/** Ends the connections on which former owners of these partitions may keep locks. Where that is forbidden, their timeout ends them. */
export async function endLockHolders(database: Database, log: Logger, takerId: string, partitions: readonly number[]): Promise<void> {
  try {
    const { rows } = await database.query<{ owner: string; ended: number }>(END_LOCK_HOLDERS, [partitions, takerId, LOCK_HOLDER_PREFIX])
    for (const { owner, ended } of rows)
      log.warn(
        { formerOwner: owner, connections: ended },
        'ended connections of a silent instance: its locks stood in the way of the takeover',
      )
    const names = rows.map(({ owner }) => lockHolderName(owner))
    if (names.length > 0 && !(await areGone(database, names)))
      log.warn(
        { waitedMs: ENDING_MS_MAX },
        'connections of a silent instance were told to end and are still there: the takeover waits for their locks, and is tried again',
      )
  } catch (error) {
    if (sqlState(error) !== '42501') throw error
    log.warn(
      { reason: (error as Error).message },
      'may not end the connections of a silent instance, so the takeover waits up to half a lease for its locks: use the same role, or grant pg_signal_backend',
    )
  }
}

/** Each look is a statement of its own, so that a lease is renewed in between. A backend is not listed any more once its locks are free. */
async function areGone(database: Database, names: readonly string[]): Promise<boolean> {
  const until = performance.now() + ENDING_MS_MAX
  for (;;) {
    if ((await database.query(STILL_THERE, [names])).rowCount === 0) return true
    if (performance.now() >= until) return false
    await pause(LOOK_MS)
  }
}
