// The effect of a credit where a peer has it in PostgreSQL: the balance, an event, and for peers that do not deduplicate a row that does.
import type pg from 'pg'

export const ACCOUNTS = 10_000

/** As in every other scenario; not imported from there, so that a peer's process loads nothing of Twofold. */
export function accountName(number: number): string {
  return `account-${number}`
}

export const TABLES = `
  create table account (name text primary key, cents bigint not null, version bigint not null) with (fillfactor = 75);
  create table done (id uuid primary key, name text not null, cents bigint not null, at timestamptz not null default now());
  create table event (seq bigint generated always as identity primary key, id uuid not null, body text not null);
  insert into account select 'account-' || n, 0, 0 from generate_series(0, ${ACCOUNTS - 1}) n`

/** What must each be the number of commands done. */
export interface Found {
  readonly cents: number
  readonly versions: number
  readonly events: number
  /** Events that are not of the same command. */
  readonly distinctEvents: number
}

export async function foundInTables(client: pg.Client): Promise<Found> {
  const { rows } = await client.query<Record<keyof Found, string>>(`select
    (select sum(cents) from account) as cents, (select sum(version) from account) as versions,
    (select count(*) from event) as events, (select count(distinct id) from event) as "distinctEvents"`)
  const row = rows[0]
  return {
    cents: Number(row?.cents),
    versions: Number(row?.versions),
    events: Number(row?.events),
    distinctEvents: Number(row?.distinctEvents),
  }
}

/**
 * One credit, deduplicated by hand, in one statement and so in one transaction and one round trip: what is best where a peer runs its
 * handler once for each command. Two copies at the same moment: the primary key of `done` refuses the second one.
 */
export const CREDIT_ONCE = {
  name: 'credit-once',
  text: `with credited as (update account set cents = cents + 1, version = version + 1
      where name = $2 and not exists (select from done where id = $1) returning cents),
    answered as (insert into done (id, name, cents) select $1, $2, cents from credited)
    insert into event (id, body) select $1, json_build_object('name', $2::text, 'cents', 1)::text from credited`,
}

/** The same where the peer deduplicates. */
export const CREDIT = {
  name: 'credit',
  text: `with credited as (update account set cents = cents + 1, version = version + 1 where name = $2 returning cents),
    told as (insert into event (id, body) select $1, json_build_object('name', $2::text, 'cents', 1)::text from credited)
    select cents from credited`,
}

// The account rows are locked in the order of their names before they are changed: two batches that meet must not wait in a circle.
const CREDIT_FRESH = `locked as materialized (select name from account where name in (select name from fresh) order by name for no key update),
  credited as (update account a set cents = a.cents + s.count, version = a.version + s.count
    from (select name, count(*) as count from fresh group by name) s where a.name = s.name and s.name in (select name from locked)
    returning a.name, a.cents),
  told as (insert into event (id, body) select id, json_build_object('name', name, 'cents', 1)::text from fresh)`

/** Many credits in one statement, deduplicated by hand: for peers that hand their handler a batch. */
export const CREDIT_MANY_ONCE = `with fresh as materialized (select distinct on (id) id, name from unnest($1::uuid[], $2::text[]) t(id, name)
    where not exists (select from done where done.id = t.id)), ${CREDIT_FRESH}
  insert into done (id, name, cents) select id, name, cents from fresh join credited using (name)`

/** The same where the peer deduplicates. */
export const CREDIT_MANY = `with fresh as materialized (select id, name from unnest($1::uuid[], $2::text[]) t(id, name)), ${CREDIT_FRESH}
  select count(*) from credited`
