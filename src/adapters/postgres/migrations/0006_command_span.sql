-- A waiting command is found by the span of ids of its row. Both ends in one index: rows that begin before the id and end before it too are
-- passed over without being visited.
create index _command_span on twofold._command (first_id, last_id);
drop index twofold._command_first_id;

-- Its bytes are known without fetching what is stored out of line; counting characters would fetch and unpack all of it.
create or replace view twofold.waiting as
  select partition, sum(count)::bigint as commands, sum(octet_length(body))::bigint as bytes, min(appended_at) as oldest
    from twofold._command group by partition;
