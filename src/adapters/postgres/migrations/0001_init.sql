-- Everything Twofold keeps. Tables with a leading underscore are private and may change; people and tools read the views.
create table twofold._app (
  name text not null,
  partition_count int not null check (partition_count between 1 and 4096),
  singleton boolean primary key default true check (singleton)
);

-- 4096 slots for ever; which partition a slot belongs to is data.
create table twofold._slot (
  slot int primary key check (slot between 0 and 4095),
  partition int not null check (partition >= 0)
);

create table twofold._instance (
  id uuid primary key,
  roles text[] not null,
  address text,
  started_at timestamptz not null default clock_timestamp(),
  lease_until timestamptz not null
);

-- Never updated per batch: batches lock their row FOR SHARE, only a change of owner writes it.
create table twofold._partition (
  partition int primary key,
  owner uuid,
  epoch bigint not null default 0
);

-- The command log: one row per append batch and partition, its commands packed in `body`, one per line. One sequence, CACHE 1.
create sequence twofold._command_seq cache 1;
create table twofold._command (
  seq bigint primary key default nextval('twofold._command_seq'),
  partition int not null,
  -- Ids are uuidv7: the span lets a command be found by its id without an index entry per command.
  first_id uuid not null,
  last_id uuid not null,
  count int not null check (count > 0),
  body text not null,
  appended_at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
create index _command_first_id on twofold._command (first_id);

create table twofold._entity (
  service text not null,
  key text not null,
  version bigint not null check (version > 0),
  shape int not null,
  state text, -- null: removed
  primary key (service, key)
) with (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);

-- Partitioned by id, which begins with the time: so the id alone is unique and old ones are dropped by table.
create table twofold._outcome (
  id uuid primary key,
  service text not null,
  command text not null,
  status text not null check (status in ('succeeded', 'rejected', 'dead')),
  code text,
  body text,
  version bigint not null,
  partition int not null,
  event_seq bigint not null,
  finished_at timestamptz not null default clock_timestamp()
) partition by range (id);
-- Takes what no other partition covers, so that an outcome never fails for want of a table.
create table twofold._outcome_default partition of twofold._outcome default;

create table twofold._claim (
  hash text primary key check (length(hash) = 64),
  fingerprint text not null check (length(fingerprint) = 64),
  command_id uuid not null,
  answer text,
  at timestamptz not null default clock_timestamp()
);
create index _claim_at on twofold._claim (at);

-- The event log: one row per batch and partition, `seq` the number of its last event, without gaps.
create table twofold._event (
  partition int not null,
  seq bigint not null,
  count int not null check (count > 0),
  body text not null,
  at timestamptz not null default clock_timestamp(),
  primary key (partition, seq)
);

-- lz4 costs a fraction of the default; not every build has it.
do $$ begin
  alter table twofold._command alter column body set compression lz4;
  alter table twofold._event alter column body set compression lz4;
exception when feature_not_supported then null;
end $$;

create table twofold._cursor (
  subscriber text primary key,
  positions bigint[] not null,
  owner uuid,
  epoch bigint not null default 0,
  tables_hash text
);

-- Commands of a key whose head keeps failing; they hold neither the log nor their neighbours.
create table twofold._parked (
  seq bigint primary key default nextval('twofold._command_seq'),
  partition int not null,
  service text not null,
  key text not null,
  id uuid not null unique,
  envelope text not null,
  attempts int not null,
  due_at timestamptz not null,
  error text
);
create index _parked_key on twofold._parked (partition, service, key, seq);

create table twofold._dead_letter (
  id text not null,
  kind text not null check (kind in ('command', 'event')),
  subscriber text not null default '',
  service text not null,
  name text not null,
  key text not null,
  partition int not null,
  message text not null,
  attempts int not null,
  error text not null,
  stack text,
  at timestamptz not null default clock_timestamp(),
  primary key (kind, id, subscriber)
);

-- Ends a batch from inside its own statement: an autocommitted statement that merely returned a count would have stored the rest.
create function twofold.abort_batch(failure text) returns int language plpgsql as $$
begin
  raise exception '%', failure using errcode = 'TF001';
end $$;

create view twofold.instance as
  select id, roles, address, started_at, lease_until, lease_until > clock_timestamp() as alive from twofold._instance;
create view twofold.partition as
  select partition, owner, epoch from twofold._partition;
create view twofold.waiting as
  select partition, sum(count)::bigint as commands, sum(length(body))::bigint as bytes, min(appended_at) as oldest
    from twofold._command group by partition;
create view twofold.entity as
  select service, key, version, state::json as state from twofold._entity where state is not null;
create view twofold.outcome as
  select id, service, command, status, code, body::json as body, version, finished_at from twofold._outcome;
create view twofold.event as
  select e.partition, e.seq - e.count + line.ordinality as seq, line.body::json ->> 'service' as service, line.body::json ->> 'name' as name,
         line.body::json ->> 'key' as key, line.body::json -> 'data' as data, line.body::json ->> 'id' as id, e.at
    from twofold._event e, string_to_table(e.body, E'\n') with ordinality as line(body, ordinality);
create view twofold.subscriber as
  select subscriber, positions, owner from twofold._cursor;
create view twofold.parked as
  select service, key, id, attempts, due_at, error from twofold._parked;
create view twofold.dead_letter as
  select kind, id, subscriber, service, name, key, message::json as message, attempts, error, stack, at from twofold._dead_letter;
