// What one command changes is stored by one transaction, or it may be torn at any death. PostgreSQL itself says which transaction wrote a row
// (its system column `xmin`); a row that is gone says nothing any more, so a trigger looks when commands are consumed.
import type pg from 'pg'

/**
 * Tells every command that leaves the log, or its parked key, in a transaction after which it is neither finished nor parked. Triggers after
 * a statement see all that the statement and those before it in the transaction have stored.
 */
export const WATCH_CONSUMPTION = `
  create table if not exists torn_consumption (id uuid not null, left_the text not null);
  create or replace function note_torn_rows() returns trigger language plpgsql as $$
  begin
    insert into torn_consumption
      select id, 'log' from gone g, string_to_table(g.body, E'\\n') line,
        lateral (select (split_part(line, E'\\t', 1)::json ->> 'id')::uuid as id) command
        where not exists (select 1 from twofold._outcome o where o.id = command.id)
          and not exists (select 1 from twofold._parked p where p.id = command.id);
    return null;
  end $$;
  create or replace function note_torn_parked() returns trigger language plpgsql as $$
  begin
    insert into torn_consumption
      select id, 'parked key' from gone g where not exists (select 1 from twofold._outcome o where o.id = g.id);
    return null;
  end $$;
  do $$ begin
    if not exists (select from pg_trigger where tgname = 'note_torn') then
      create trigger note_torn after delete on twofold._command referencing old table as gone
        for each statement execute function note_torn_rows();
      create trigger note_torn after delete on twofold._parked referencing old table as gone
        for each statement execute function note_torn_parked();
    end if;
  end $$`

/** Where a broker carries the commands the log only hands them on: they leave it once the broker has them. */
export const WATCH_PARKED_ALONE = 'drop trigger if exists note_torn on twofold._command'

// Each event with its number and its version, and the transaction (`xid`) that wrote its row.
const EVENTS = `select own ->> 1 as "commandId", kind ->> 0 as service, (own ->> 3)::int as version, own -> 5 as data,
    e.partition, (e.seq - e.count + line.at - 1)::int as seq, e.xmin::text as xid
  from twofold._event e, string_to_table(e.body, E'\\n') with ordinality as line(body, at),
    lateral (select line.body::json as own) o, lateral (select split_part(e.body, E'\\n', 1)::json -> 'kinds' -> (own ->> 0)::int as kind) k
  where line.at > 1`

const OUTCOMES = `select id, status, version::int, partition, event_seq::int as seq, xmin::text as xid from twofold._outcome`

const STATES = `select service, key, version::int, xmin::text as xid from twofold._entity
  union all select 'books', key, version, xmin::text from book`

/** An event of the ledger. The first of its changes is that of the command's home key. */
interface EventRow {
  readonly commandId: string
  readonly service: string
  readonly version: number
  readonly data: { readonly changes: readonly { readonly key: string; readonly version: number }[] }
  readonly partition: number
  readonly seq: number
  readonly xid: string
}

interface OutcomeRow {
  readonly id: string
  readonly status: string
  readonly version: number
  readonly partition: number
  readonly seq: number
  readonly xid: string
}

interface StateRow {
  readonly service: string
  readonly key: string
  readonly version: number
  readonly xid: string
}

/** A sentence for every command whose state, outcome, event and consumption are not the work of one transaction, or name different versions. */
export async function tornCommands(database: pg.Pool): Promise<string[]> {
  const events = await database.query<EventRow>(EVENTS)
  const outcomes = await database.query<OutcomeRow>(OUTCOMES)
  const states = await database.query<StateRow>(STATES)
  const consumed = await database.query<{ id: string; left: string }>('select id, left_the as left from torn_consumption')
  return [
    ...tornEvents(events.rows, outcomes.rows),
    ...tornStates(events.rows, states.rows),
    ...consumed.rows.map(({ id, left }) => `command ${id} left the ${left} in a transaction that did not finish it`),
  ]
}

/** Every command that succeeded has told one event, together with its outcome. */
function tornEvents(events: readonly EventRow[], outcomes: readonly OutcomeRow[]): string[] {
  const told = new Map(events.map((event) => [event.commandId, event]))
  const found = new Map(outcomes.map((outcome) => [outcome.id, outcome]))
  return [
    ...events.filter(({ commandId }) => !found.has(commandId)).map(({ commandId }) => `command ${commandId} has an event and no outcome`),
    ...outcomes.flatMap(({ id, status, xid, ...outcome }) => {
      const event = told.get(id)
      if ((status === 'succeeded') !== (event !== undefined)) return [`command ${id} is ${status} and has ${event ? 'an' : 'no'} event`]
      if (event === undefined) return []
      if (event.xid !== xid) return [`command ${id}: transaction ${xid} has stored its outcome, and ${event.xid} its event`]
      const [ofOutcome, ofEvent] = [outcome, event].map(({ version, partition, seq }) => `version ${version}, ${partition}/${seq}`)
      return ofOutcome === ofEvent ? [] : [`command ${id}: its outcome names ${ofOutcome}, its event ${ofEvent}`]
    }),
  ]
}

/** The state that a command led to, where no later one has replaced it, was stored with its event. */
function tornStates(events: readonly EventRow[], states: readonly StateRow[]): string[] {
  const placed = (service: string, key: string, version: number): string => `'${key}' of ${service} at version ${version}`
  const last = new Map(states.map(({ service, key, version, xid }) => [placed(service, key, version), xid]))
  return events.flatMap(({ commandId, service, version, data, xid }) => {
    const home = data.changes[0]?.version
    // Rows of SQL handlers are their own; to Twofold they have no version.
    const wrong =
      version === (service === 'books' ? 0 : home) ? [] : [`command ${commandId} led to version ${home}; its event says ${version}`]
    const torn = data.changes.flatMap((change) => {
      const state = placed(service, change.key, change.version)
      const writer = last.get(state) ?? xid
      return writer === xid ? [] : [`command ${commandId}: transaction ${writer} has stored ${state}, and ${xid} its event`]
    })
    return [...wrong, ...torn]
  })
}
