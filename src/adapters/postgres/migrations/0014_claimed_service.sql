-- A claim that is made before its command runs says for which service. That command may wait at a broker, where nobody can look for it, so the claim
-- is kept for as long as it may still be run, which each service says. Null: the claim came with the effect, or is older than this.
alter table twofold._claim add column service text;
