-- Where a broker carries the commands, a keyed one is claimed before it is published. Whoever ends in between leaves the claim alone: a retry
-- publishes the command that stands in it.
alter table twofold._claim add column command text;
