// How much disk the outcomes take. They are what deduplication rests on, are kept for hours after each command, and are most of the disk.
import { HOUR_MS, RETENTION_HOURS_MIN } from '../../adapters/postgres/outcome-tables.ts'
import type { Finding } from './check.ts'
import { bytesOf, countOf, durationOf } from './figures.ts'
import type { Session } from './session.ts'

/** Fewer say nothing about the size of one: an empty table has pages too. */
const OUTCOMES_MIN = 1000

interface Kept {
  /** Of all outcomes that are kept now. */
  readonly bytes: number
  /** Inserted into the tables of the last hour and of this one. */
  readonly recent: number
  readonly recentBytes: number
  /** How long these tables have been written to. */
  readonly recentMs: number
}

// Inserts are counted by PostgreSQL itself; counting rows would read an hour's worth of them. A table bears the hour of its commands' ids.
const KEPT = `with hour as (select floor(extract(epoch from clock_timestamp()) * 1000 / $1) as now),
  tables as (
    select pg_total_relation_size(c.oid) as bytes, pg_stat_get_tuples_inserted(c.oid) as inserted,
        substring(c.relname from '^_outcome_([0-9]+)$')::float8 >= hour.now - 1 as recent
      from pg_inherits i join pg_class c on c.oid = i.inhrelid cross join hour where i.inhparent = 'twofold._outcome'::regclass)
  select coalesce(sum(bytes), 0)::float8 as bytes, coalesce(sum(inserted) filter (where recent), 0)::float8 as recent,
    coalesce(sum(bytes) filter (where recent), 0)::float8 as "recentBytes",
    least(extract(epoch from clock_timestamp()) * 1000 - (select (now - 1) * $1 from hour),
      (select extract(epoch from clock_timestamp() - min(at)) * 1000 from twofold._migration))::float8 as "recentMs"
  from tables`

export async function lookAtOutcomes(session: Session): Promise<Finding> {
  const { bytes, recent, recentBytes, recentMs } = await session.row<Kept>(KEPT, [HOUR_MS])
  const now = `outcomes take ${bytesOf(bytes)} of disk`
  if (recent < OUTCOMES_MIN)
    return {
      status: 'ok',
      found: `${now}; ${countOf(recent, 'command')} finished in the last ${durationOf(recentMs)}, too few to tell how it grows`,
    }
  const perSecond = (recent / Math.max(recentMs, 1)) * 1000
  const perDay = (recentBytes / Math.max(recentMs, 1)) * HOUR_MS * RETENTION_HOURS_MIN
  const rate = `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString('en')} commands/s in the last ${durationOf(recentMs)}`
  return {
    status: 'ok',
    found: `${now}; at ${rate} the ${RETENTION_HOURS_MIN} hours for which they are kept come to ${bytesOf(perDay)}; a service with longer retentionHours takes more in proportion`,
  }
}
