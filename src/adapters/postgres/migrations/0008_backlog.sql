-- What waits in each partition, as its owner counted it last: gateways refuse by it. Written twice a second and worth nothing after a crash,
-- so it is unlogged; half of each page is left free, so that its rows are replaced in place.
create unlogged table twofold._backlog (
  partition int primary key,
  commands bigint not null,
  bytes bigint not null,
  -- When the command that has waited longest was appended; null: none waits.
  oldest timestamptz,
  -- Commands behind keys whose head keeps failing, and the keys that have as many of them as they may: [[service, key], …].
  parked bigint not null,
  full_keys text not null,
  at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

create view twofold.backlog as
  select partition, commands, bytes, oldest, parked, full_keys::json as full_keys, at from twofold._backlog;
