-- What stands for this database in names outside of it: at a broker several databases may bear an app of one name (staging beside production, or one for
-- each developer), and each must take its own commands alone. Made with the database, and kept. `origin`: where it was made, by which a copy is told.
alter table twofold._app
  add column database_id text not null default left(replace(gen_random_uuid()::text, '-', ''), 8) check (database_id ~ '^[0-9a-f]{8}$'),
  add column origin text;

-- Which database of which server this is; null: the server does not say. A standby that takes over is the same one.
create function twofold.database_origin() returns text language plpgsql stable as $$
begin
  return (select c.system_identifier || '/' || d.oid from pg_control_system() c, pg_database d where d.datname = current_database());
exception when others then
  return null;
end $$;

-- A copy has the id of its original. Whoever wants to start an app with it while the original is still used gives it one of its own.
create function twofold.new_database_id() returns text language plpgsql as $$
declare
  made text;
begin
  if exists (select from twofold._instance where lease_until > clock_timestamp()) then
    raise exception 'instances of the app run: stop them first, or they go on with the names they know' using errcode = 'TF003';
  end if;
  update twofold._app set database_id = left(replace(gen_random_uuid()::text, '-', ''), 8), origin = twofold.database_origin()
    returning database_id into made;
  return made;
end $$;

-- A copy that takes the place of its original (a restored backup, a new server) goes on under its id.
create function twofold.keep_database_id() returns text language sql as $$
  update twofold._app set origin = twofold.database_origin() returning database_id
$$;
