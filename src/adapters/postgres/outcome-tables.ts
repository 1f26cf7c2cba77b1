// The tables of outcomes, one for each hour in which the commands got their ids: made ahead, swept, dropped as a whole.
//
// A service may have its outcomes kept longer than others. Their rows lie in the same tables, so an old table is in one of three states:
// young      something in it finished less than 24 hours ago: left alone.
// swept      only rows of services with a longer retention are left in it, and it bears a comment that says so.
// dropped    no service wants any of it any more.
// Tables by service as well would be dropped whole, and be a thousand for ten services; rows of the many who want a day would otherwise
// stay for the sake of the one that wants a year.
import type { Database, Transaction } from '../../ports/database.ts'
import { lowestIdAt } from './command-ids.ts'

/** How many hours outcomes are kept, by service. Of a service that is not named: 24. */
export type RetentionHours = ReadonlyMap<string, number>

export const HOUR_MS = 3_600_000

/** No service keeps less. */
export const RETENTION_HOURS_MIN = 24

/** Tables are made so far ahead; beyond it the default partition would take rows in. */
const AHEAD_HOURS = 3

const ROWS_PER_SWEEP = 5000

const LOWEST_ID = '00000000-0000-0000-0000-000000000000'

/** A table that may hold what nobody wants any more. */
export interface OldTable {
  readonly name: string
  /** The services whose rows in it are still wanted; none: it can be dropped. */
  readonly wanted: readonly string[]
  /** It was swept for exactly these before. */
  readonly swept: boolean
}

/** Tables whose hour is over for services without a retention of their own, but for those in which something finished lately. */
export async function oldTables(database: Transaction, hour: number, retention: RetentionHours): Promise<OldTable[]> {
  const { rows } = await database.query<{ name: string; comment: string | null }>(
    `select c.relname as name, obj_description(c.oid, 'pg_class') as comment from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'twofold._outcome'::regclass and c.relname ~ '^_outcome_[0-9]+$' order by 1`,
  )
  const old: OldTable[] = []
  for (const { name, comment } of rows) {
    if (hourOf(name) >= hour - RETENTION_HOURS_MIN - 1) continue
    const kept = servicesIn(comment)
    // Where all that it was kept for still want it there is nothing to do, and the rest of it need not be read to know that.
    if (kept.length > 0 && (await wantedIn(database, name, hour, only(retention, kept))).length === kept.length) continue
    if (await hasYoung(database, name, hour)) continue
    const wanted = await wantedIn(database, name, hour, retention)
    old.push({ name, wanted, swept: comment === commentFor(wanted) })
  }
  return old
}

/** Removes the old rows of all services but the wanted ones, in small statements, and notes that it has been done. */
export async function sweep(database: Database, { name, wanted }: OldTable, hour: number, goesOn: () => boolean): Promise<void> {
  let last = LOWEST_ID
  while (goesOn()) {
    const { rows } = await database.query<{ last: string | null }>(
      `with looked as materialized (
          select id, service, finished_at from twofold.${name} where id > $1 order by id limit ${ROWS_PER_SWEEP}),
        gone as (delete from twofold.${name} o using looked l where o.id = l.id and l.service <> all ($2::text[]) and l.finished_at < $3)
        select max(id::text) as last from looked`,
      [last, wanted, before(hour, RETENTION_HOURS_MIN)],
    )
    const next = rows[0]?.last
    if (typeof next !== 'string') {
      await database.query(`comment on table twofold.${name} is '${commentFor(wanted)}'`)
      return
    }
    last = next
  }
}

/** Removes what is old in the table that takes what no other one covers, in small statements: it has rows of any hour and is never dropped. */
export async function sweepDefault(database: Database, hour: number, retention: RetentionHours, goesOn: () => boolean): Promise<void> {
  let last: string | null | undefined = LOWEST_ID
  while (goesOn() && typeof last === 'string') {
    const { rows }: { rows: { last: string | null }[] } = await database.query(SWEEP_DEFAULT, [
      last,
      lowestIdAt((hour - RETENTION_HOURS_MIN - 1) * HOUR_MS),
      before(hour, 0),
      [...retention.keys()],
      [...retention.values()],
    ])
    last = rows[0]?.last
  }
}

const SWEEP_DEFAULT = `with looked as materialized (
    select id, service, finished_at from twofold._outcome_default where id > $1 and id < $2 order by id limit ${ROWS_PER_SWEEP}),
  gone as (
    delete from twofold._outcome_default o using looked l where o.id = l.id and l.finished_at < $3::timestamptz - interval '1 hour'
      * coalesce((select r.hours from unnest($4::text[], $5::int[]) r(service, hours) where r.service = l.service), ${RETENTION_HOURS_MIN}))
  select max(id::text) as last from looked`

/**
 * Drops one table that nobody wants anything of. Something may have finished since it was looked at, and only under a lock is it certain
 * that nothing has. It may have millions of rows to look at: while that goes on, only whoever would store in this old table waits. Everybody
 * waits for the lock on the whole, so that one comes last.
 */
export async function drop(transaction: Transaction, { name }: OldTable, hour: number): Promise<void> {
  const there = await transaction.query<{ there: boolean }>(`select to_regclass('twofold.${name}') is not null as there`)
  if (!there.rows[0]?.there) return
  await transaction.query(`lock table twofold.${name} in share mode`)
  if (await hasYoung(transaction, name, hour)) return
  await transaction.query('lock table only twofold._outcome in access exclusive mode')
  await transaction.query(`drop table twofold.${name}`)
}

/** Whether something in it finished less than 24 hours ago. The hour is that of the command's id: one that waited long finished long after. */
async function hasYoung(database: Transaction, name: string, hour: number): Promise<boolean> {
  const found = await database.query(`select 1 from twofold.${name} where finished_at >= $1 limit 1`, [before(hour, RETENTION_HOURS_MIN)])
  return found.rowCount !== 0
}

/** The hours that should have their table: this one, the last and the next ones. */
export function hoursAhead(hour: number): number[] {
  return Array.from({ length: AHEAD_HOURS + 2 }, (_, at) => hour - 1 + at)
}

/** Makes the table of an hour. Its name carries the hour since 1970, its bounds are the hour's lowest id and the next one's. */
export async function makeTable(transaction: Transaction, hour: number): Promise<void> {
  const [from, to] = [lowestIdAt(hour * HOUR_MS), lowestIdAt((hour + 1) * HOUR_MS)]
  // Where the default partition has taken rows of that hour, the hour stays there: a partition for it would be refused.
  const { rows } = await transaction.query<{ settled: boolean }>(
    `select to_regclass('twofold._outcome_${hour}') is not null
       or exists (select 1 from twofold._outcome_default where id >= '${from}' and id < '${to}') as settled`,
  )
  if (!rows[0]?.settled)
    await transaction.query(`create table twofold._outcome_${hour} partition of twofold._outcome for values from ('${from}') to ('${to}')`)
}

/** The services that keep their outcomes longer and have some in this table that are not too old. */
async function wantedIn(database: Transaction, name: string, hour: number, retention: RetentionHours): Promise<string[]> {
  const wanted: string[] = []
  for (const [service, hours] of retention) {
    if (hours <= RETENTION_HOURS_MIN) continue
    const found = await database.query(`select 1 from twofold.${name} where service = $1 and finished_at >= $2 limit 1`, [
      service,
      before(hour, hours),
    ])
    if (found.rowCount !== 0) wanted.push(service)
  }
  return wanted
}

/** The hour of a table, by its name. */
export function hourOf(name: string): number {
  return Number(name.slice('_outcome_'.length))
}

/** So many hours before this one began. */
export function before(hour: number, hours: number): Date {
  return new Date((hour - hours) * HOUR_MS)
}

/** Those that a swept table was kept for; none: it was not swept. */
function servicesIn(comment: string | null): readonly string[] {
  const [, names] = /^holds outcomes of (.+) only$/.exec(comment ?? '') ?? []
  return names?.split(', ') ?? []
}

function only(retention: RetentionHours, services: readonly string[]): RetentionHours {
  return new Map([...retention].filter(([service]) => services.includes(service)))
}

/** Names of services are lower-case letters, digits and dashes: there is nothing to quote. */
function commentFor(wanted: readonly string[]): string {
  return `holds outcomes of ${wanted.toSorted().join(', ')} only`
}
