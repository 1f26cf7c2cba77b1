-- A command whose publication was not confirmed waits in the log for its owner to publish it again. Nobody was told that it is taken, so later
-- ones need not wait behind it.
alter table twofold._command add column in_doubt boolean not null default false;
