-- A batch updates many entities of one page at once: with a quarter of it free most find no room there and move on, to wherever there is some, and
-- entities that are used together end up far apart. With half of it free they stay, for twice the size at first.
alter table twofold._entity set (fillfactor = 50);
