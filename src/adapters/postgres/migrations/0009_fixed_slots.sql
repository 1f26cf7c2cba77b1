-- A slot that moved while an instance runs would give its keys two owners: every process reads the map once, at its start. So the map is
-- made with the database and refuses to be changed after that.
create function twofold.refuse_other_slots() returns trigger language plpgsql as $$
begin
  raise exception 'the partitions of a database are fixed when it is made: for another number of them, or another map, make a new database'
    using errcode = 'TF002';
end $$;
create trigger _slot_fixed before update or delete or truncate on twofold._slot execute function twofold.refuse_other_slots();
create trigger _partition_fixed before delete or truncate on twofold._partition execute function twofold.refuse_other_slots();
create trigger _app_fixed before delete or truncate or update of partition_count on twofold._app execute function twofold.refuse_other_slots();

-- What does not exist has no row to lock. Two commands that each see the other's key missing, and each make their own, would both be
-- decided on what is true no longer. So whoever decides on missing keys locks a number that stands for them until its transaction ends:
-- alone while it may still make them (a cross batch, before it runs its commands), and shared once it only has to know that they are missing.
-- There are 256 numbers, because a transaction must not take a lock per key: the server's table of locks is small. Returns how many of
-- the keys are missing by then: each statement of a volatile function sees what was committed while it waited.
create function twofold.lock_absent(services text[], keys text[], alone boolean) returns bigint language plpgsql volatile as $$
begin
  perform case when alone then pg_advisory_xact_lock(7306917, bucket) else pg_advisory_xact_lock_shared(7306917, bucket) end
    from (select distinct (hashtextextended(service || E'\x01' || key, 0) & 255)::int as bucket from unnest(services, keys) t(service, key)
      order by bucket) b;
  return (select count(*) from unnest(services, keys) t(service, key)
    where not exists (select 1 from twofold._entity e where e.service = t.service and e.key = t.key));
end $$;
