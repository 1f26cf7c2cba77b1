// Bugs in what several owners share: keys with two owners, and takeovers.
import type { PlantedBug } from './bugs.ts'

const ownership = 'test/cluster/ownership.test.ts'
const severalKeys = 'test/engine/several-keys.test.ts'

export const ownershipBugs: readonly PlantedBug[] = [
  {
    name: 'a cross batch locks its rows in the order in which its commands name them',
    file: 'stateful/engine/commit-works.ts',
    find: 'return [...keys.values()].toSorted(byKey)',
    replace: 'return [...keys.values()]',
    test: severalKeys,
    claim: 'keys of several owners are locked in one order',
  },
  {
    name: 'a key that conflicted is read without a lock again',
    file: 'stateful/engine/shared-keys.ts',
    find: 'this.#until.set(id, this.#now() + SHARED_MS)',
    replace: 'void SHARED_MS',
    test: severalKeys,
    claim: 'a key that conflicted is locked before it is read for 30 s',
  },
  {
    name: 'a cross batch does not lock what does not exist',
    file: 'adapters/postgres/entity-rows.ts',
    find: '  if (rows.length < keys.length) await lockAbsent(client, keys, rows)\n',
    replace: '',
    test: severalKeys,
    claim: 'keys that do not exist yet are locked as well',
  },
  {
    name: 'a missing key is looked for as of when the batch began',
    file: 'adapters/postgres/commit-statement.ts',
    find: "'select 1 from generate_series(1, twofold.lock_absent($1::text[], $2::text[], false))'",
    replace:
      "'select 1 from unnest($1::text[], $2::text[]) t(service, key) where not exists (select 1 from twofold._entity e where e.service = t.service and e.key = t.key)'",
    test: severalKeys,
    claim: 'a batch that was decided on a missing key',
  },
  {
    name: 'whoever claims again forgets that the former owner had died',
    file: 'adapters/postgres/instances.ts',
    find: 'p.owner is not null as abandoned',
    replace: 'p.owner is distinct from $1 and p.owner is not null as abandoned',
    test: ownership,
    claim: 'connections on which a former owner keeps locks are ended',
  },
  {
    name: 'partitions are given to an heir whose lease has ended',
    file: 'adapters/postgres/hand-over.ts',
    find: 'where i.id = mine.heir and i.lease_until > clock_timestamp())',
    replace: 'where i.id = mine.heir)',
    test: ownership,
    claim: 'an heir owns what it is given in the same step',
  },
  {
    name: 'partitions of others are handed over',
    file: 'adapters/postgres/hand-over.ts',
    find: 'where p.owner = $1 order by p.partition for update of p),\n  ${GIVE} ${RING}`\n\n/** Gives all',
    replace: 'where $1::uuid is not null order by p.partition for update of p),\n  ${GIVE} ${RING}`\n\n/** Gives all',
    test: ownership,
    claim: 'an heir owns what it is given in the same step',
  },
  {
    name: 'what was handed over keeps its epoch',
    file: 'adapters/postgres/hand-over.ts',
    find: 'set epoch = p.epoch + 1,',
    replace: 'set epoch = p.epoch,',
    test: ownership,
    claim: 'an heir owns what it is given in the same step',
  },
  {
    name: 'what is handed over is taken while the engine still lets go of it',
    file: 'stateful/partition/ownership.ts',
    find: '    for (const partition of all) this.#lost.add(partition)\n    await this.#drop(all)',
    replace: '    for (const partition of all) this.#lost.add(partition)\n    this.#held.clear()\n    await this.#options.drop(all)',
    test: ownership,
    claim: 'what is handed over while the engine lets go of it',
  },
  {
    name: 'a look that is older than a hand-over undoes it',
    file: 'stateful/partition/ownership.ts',
    find: 'since !== undefined && since <= BigInt(epoch)',
    replace: 'since !== undefined && BigInt(epoch) >= 0n',
    test: ownership,
    claim: 'what was handed over is served at once',
  },
  {
    name: 'an engine that serves nothing keeps its dead connection',
    file: 'stateful/engine/changes.ts',
    find: '          throw error\n',
    replace: '',
    test: 'test/engine/faults.test.ts',
    claim: 'an engine that serves nothing and whose connections are gone',
  },
]
