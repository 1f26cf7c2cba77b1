-- A command that died with `afterDeath: 'park'` stays at the head of its key, never due, until an operator lets the key go on. True: it was held.
create function twofold.release_key(of_service text, of_key text) returns boolean language sql as $$
  with released as (delete from twofold._parked p where p.service = of_service and p.key = of_key and p.due_at = 'infinity' returning 1)
  select exists (select from released)
$$;
