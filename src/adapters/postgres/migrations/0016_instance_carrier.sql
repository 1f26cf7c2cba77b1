-- What an instance carries commands by, of which all that live at a time have the same: commands of a key that go by two ways have no order. Instances of
-- programs that do not say it count as what they are unless they were told otherwise.
alter table twofold._instance add column carrier text not null default 'postgres';

create or replace view twofold.instance as
  select id, roles, address, started_at, lease_until, lease_until > clock_timestamp() as alive, carrier from twofold._instance;
