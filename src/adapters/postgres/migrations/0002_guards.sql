-- Two batches must never give the same number to two events. The primary key (partition, last number) sees that only where both end
-- with the same number; two batches that begin at the same number overlap just as well.
create unique index _event_first on twofold._event (partition, (seq - count));

-- An owner finds its own rows without walking over another owner's backlog.
create index _command_partition on twofold._command (partition, seq);

-- Whether an hour's table still holds an outcome that finished lately; outcomes lie in it nearly in the order in which they finished.
create index _outcome_finished on twofold._outcome using brin (finished_at);
