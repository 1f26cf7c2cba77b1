// Claims of outcomes that are about to be removed. They go before them: a claim whose outcome is gone would hold its Idempotency-Key, and whoever
// repeats the request would be told that the first one still runs. Without its claim an outcome is merely not found by the key any more, and
// a request is a new one.
import type { Database } from '../../ports/database.ts'
import { lowestIdAt } from './command-ids.ts'
import { before, HOUR_MS, hourOf, RETENTION_HOURS_MIN, type OldTable, type RetentionHours } from './outcome-tables.ts'

const CLAIMS_PER_DELETE = 1000

/**
 * A claim is stored when its command is appended or ends. Those of an hour are looked for from so long before it to so long behind it, by the
 * time at which they were stored; what is claimed still later goes with the claims that have no outcome.
 */
const EARLIER_MS = HOUR_MS
const LATER_MS = 24 * HOUR_MS

// Claim by claim, in the order of their index: there is none by command, which every keyed command would pay for.
const unclaim = (table: string, isOld: string): string => `with looked as materialized (
    select at, hash, command_id from twofold._claim
      where at >= $1::timestamptz and (at, hash) > ($1::timestamptz, $2) and at < $3::timestamptz order by at, hash limit ${CLAIMS_PER_DELETE}),
  gone as (
    delete from twofold._claim c using looked l where c.hash = l.hash
      and exists (select from twofold.${table} o where o.id = l.command_id and ${isOld}))
  select at::text, hash from looked order by looked.at desc, hash desc limit 1`

/** Of all that will be swept in a table, or dropped with it. */
export async function unclaimTable(database: Database, { name, wanted }: OldTable, hour: number, goesOn: () => boolean): Promise<void> {
  const began = hourOf(name) * HOUR_MS
  const from = new Date(began - EARLIER_MS).toISOString()
  const to = new Date(began + HOUR_MS + LATER_MS)
  const text = unclaim(name, 'o.service <> all ($4::text[]) and o.finished_at < $5')
  await unclaimAll(database, text, from, [to, wanted, before(hour, RETENTION_HOURS_MIN)], goesOn)
}

/** Of all that will be swept in the default table, which seldom holds anything. */
export async function unclaimDefault(database: Database, hour: number, retention: RetentionHours, goesOn: () => boolean): Promise<void> {
  const lowest = lowestIdAt((hour - RETENTION_HOURS_MIN - 1) * HOUR_MS)
  if ((await database.query('select 1 from twofold._outcome_default where id < $1 limit 1', [lowest])).rowCount === 0) return
  const values = [before(hour, RETENTION_HOURS_MIN), lowest, before(hour, 0), [...retention.keys()], [...retention.values()]]
  const isOld = `o.id < $4 and o.finished_at < $5::timestamptz - interval '1 hour'
    * coalesce((select r.hours from unnest($6::text[], $7::int[]) r(service, hours) where r.service = o.service), ${RETENTION_HOURS_MIN})`
  await unclaimAll(database, unclaim('_outcome_default', isOld), '-infinity', values, goesOn)
}

async function unclaimAll(
  database: Database,
  text: string,
  from: string,
  values: readonly unknown[],
  goesOn: () => boolean,
): Promise<void> {
  let last: { at: string; hash: string } | undefined = { at: from, hash: '' }
  while (last !== undefined && goesOn()) {
    const { rows }: { rows: { at: string; hash: string }[] } = await database.query(text, [last.at, last.hash, ...values])
    last = rows[0]
  }
}
