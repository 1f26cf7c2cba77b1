-- How often a command was begun in a partition whose owner had died: the one that ends its process is found by it.
create table twofold._attempt (
  id uuid primary key,
  count int not null
);
