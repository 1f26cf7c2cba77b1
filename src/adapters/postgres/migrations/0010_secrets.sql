-- What the instances of this app show each other. Whoever may read this may read and write everything else as well.
create table twofold._secret (
  name text primary key,
  value text not null check (length(value) >= 32)
);

-- Two random uuids: 244 bits of the server's strong random numbers.
insert into twofold._secret (name, value) values ('direct', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
