-- Where PostgreSQL was built without lz4, packing a row of events by its older method costs as much as storing it: such rows are stored as
-- they are, and beside the table only where they do not fit on a page.
do $$ begin
  if not exists (select from pg_attribute where attrelid = 'twofold._event'::regclass and attname = 'body' and attcompression = 'l') then
    alter table twofold._event alter column body set storage external;
    alter table twofold._event set (toast_tuple_target = 8160);
  end if;
end $$;
