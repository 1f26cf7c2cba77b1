-- What the events of one row have in common stands in its first line, once: {"time":…,"kinds":[[service,name,shape],…]}. Each line after it
-- holds what is an event's own: [kind,command id,ordinal,version,key,data].
update twofold._event e set body = packed.body
  from (select o.partition, o.seq,
          json_build_object('time', (min(line.body::json ->> 'time'))::bigint,
            'kinds', json_agg(json_build_array(line.body::json -> 'service', line.body::json -> 'name', line.body::json -> 'shape') order by line.ordinality))::text
          || E'\n' || string_agg(concat('[', line.ordinality - 1, ',', line.body::json -> 'commandId', ',',
            substr(line.body::json ->> 'id', 38), ',', line.body::json -> 'version', ',', line.body::json -> 'key', ',', line.body::json -> 'data', ']'),
            E'\n' order by line.ordinality) as body
        from twofold._event o, string_to_table(o.body, E'\n') with ordinality as line(body, ordinality) group by o.partition, o.seq) packed
  where e.partition = packed.partition and e.seq = packed.seq;

create or replace view twofold.event as
  select e.partition, e.seq - e.count + line.ordinality - 1 as seq, kind ->> 0 as service, kind ->> 1 as name,
         own ->> 4 as key, own -> 5 as data, (own ->> 1) || '-' || (own ->> 2) as id, e.at
    from twofold._event e, string_to_table(e.body, E'\n') with ordinality as line(body, ordinality),
      lateral (select line.body::json as own) o, lateral (select split_part(e.body, E'\n', 1)::json -> 'kinds' -> (own ->> 0)::int as kind) k
    where line.ordinality > 1;
