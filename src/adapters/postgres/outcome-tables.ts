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
    if (Number(name.slice('_outcome_'.length)) >= hour - RETENTION_HOURS_MIN - 1) continue
    if (await hasYoung(database, name, hour)) continue
    const wanted = await wantedIn(database, name, hour, retention)
    old.push({ name, wanted, swept: comment === commentFor(wanted) })
  }
  return old
}

/** Removes the old rows of all services but the wanted ones, in small statements, and notes that it has been done. */
export async function sweep(database: Database, { name, wanted }: OldTable, hour: number, goesOn: () => boolean): Promise<void> {
  let last = '00000000-0000-0000-0000-000000000000'
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

/** Drops the tables that nobody wants anything of, and what is old in the one that takes what no other table covers. */
export async function drop(transaction: Transaction, old: readonly OldTable[], hour: number, retention: RetentionHours): Promise<void> {
  for (const { name, wanted } of old) if (wanted.length === 0) await dropOne(transaction, name, hour)
  await transaction.query(
    `delete from twofold._outcome_default o where id < $1 and finished_at < $2::timestamptz
      - coalesce((select r.hours from unnest($3::text[], $4::int[]) r(service, hours) where r.service = o.service), $5) * interval '1 hour'`,
    [
      lowestIdAt((hour - RETENTION_HOURS_MIN - 1) * HOUR_MS),
      before(hour, 0),
      [...retention.keys()],
      [...retention.values()],
      RETENTION_HOURS_MIN,
    ],
  )
}

/** Something may have finished since the table was looked at: only under its lock is it certain that nothing has. */
async function dropOne(transaction: Transaction, name: string, hour: number): Promise<void> {
  await transaction.query('lock table only twofold._outcome in access exclusive mode')
  const there = await transaction.query<{ there: boolean }>(`select to_regclass('twofold.${name}') is not null as there`)
  if (!there.rows[0]?.there) return
  await transaction.query(`lock table twofold.${name} in access exclusive mode`)
  if (!(await hasYoung(transaction, name, hour))) await transaction.query(`drop table twofold.${name}`)
}

/** Whether something in it finished less than 24 hours ago. The hour is that of the command's id: one that waited long finished long after. */
async function hasYoung(database: Transaction, name: string, hour: number): Promise<boolean> {
  const found = await database.query(`select 1 from twofold.${name} where finished_at >= $1 limit 1`, [before(hour, RETENTION_HOURS_MIN)])
  return found.rowCount !== 0
}

/** Makes the tables of this hour and the next ones. Their names carry the hour since 1970, their bounds are its lowest id and the next one's. */
export async function makeTables(transaction: Transaction, hour: number): Promise<void> {
  for (let each = hour - 1; each <= hour + AHEAD_HOURS; each += 1) {
    const [from, to] = [lowestIdAt(each * HOUR_MS), lowestIdAt((each + 1) * HOUR_MS)]
    // Where the default partition has taken rows of that hour, the hour stays there: a partition for it would be refused.
    const { rows } = await transaction.query<{ settled: boolean }>(
      `select to_regclass('twofold._outcome_${each}') is not null
         or exists (select 1 from twofold._outcome_default where id >= '${from}' and id < '${to}') as settled`,
    )
    if (!rows[0]?.settled)
      await transaction.query(
        `create table twofold._outcome_${each} partition of twofold._outcome for values from ('${from}') to ('${to}')`,
      )
  }
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

/** So many hours before this one began. */
function before(hour: number, hours: number): Date {
  return new Date((hour - hours) * HOUR_MS)
}

/** Names of services are lower-case letters, digits and dashes: there is nothing to quote. */
function commentFor(wanted: readonly string[]): string {
  return `holds outcomes of ${wanted.toSorted().join(', ')} only`
}
