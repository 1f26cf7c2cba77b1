// Bugs against rules of the engine that no other list has; docs/concepts/engine-rules.md names the rules.
import type { PlantedBug } from './bugs.ts'

const commit = 'adapters/postgres/commit-statement.ts'
const commits = 'test/engine/commits.test.ts'
const features = 'test/tidy/session-features.test.ts'

export const ruleBugs: readonly PlantedBug[] = [
  {
    name: 'commands of one append are a row each',
    file: 'adapters/postgres/command-log.ts',
    find: '[...Map.groupBy(group, (waiting) => waiting.partition)].map(([partition, packed]) => {',
    replace: 'group.map((one): [number, Waiting[]] => [one.partition, [one]]).map(([partition, packed]) => {',
    test: 'src/adapters/postgres/command-log.test.ts',
    claim: 'what arrives together is packed into one row per partition',
  },
  {
    name: 'a commit begins before the last one has ended',
    file: 'stateful/engine/lane.ts',
    find: '      await this.#settled()\n      this.#begin(prepared, over)',
    replace: '      this.#begin(prepared, over)',
    test: commits,
    claim: 'a partition has one commit under way',
  },
  {
    name: 'a reader passes over a gap',
    file: 'adapters/postgres/event-log.ts',
    find: 'const skip = last - (seq - row.count)',
    replace: 'const skip = Math.max(0, last - (seq - row.count))',
    test: 'test/subscribers/event-log.test.ts',
    claim: 'reading stops at a gap until it is filled',
  },
  {
    name: 'ids carry the clock of their process',
    file: 'adapters/postgres/command-ids.ts',
    find: 'return Math.round(this.#clock() + this.#offsetMs)',
    replace: 'return Math.round(this.#clock())',
    test: 'src/adapters/postgres/command-ids.test.ts',
    claim: 'ids carry the database clock',
  },
  {
    name: 'an optimistic answer is made of the moment it is made in',
    file: 'stateless/gateway/accept-command.ts',
    find: 'now: timeOf(commandId) })',
    replace: 'now: new Date() })',
    test: 'src/stateless/gateway/replays.test.ts',
    claim: 'a replay whose command still runs is 202 under the first id',
  },
  {
    name: 'a data transaction rings',
    file: commit,
    find: 'else 1 end`',
    replace: "else 1 end, pg_notify('twofold_command', '')`",
    test: features,
    claim: 'only the signals between processes ring',
  },
  {
    name: 'an advisory lock outlives its transaction',
    file: 'adapters/postgres/housekeeping.ts',
    find: 'pg_try_advisory_xact_lock',
    replace: 'pg_try_advisory_lock',
    test: features,
    claim: 'advisory locks end with their transaction',
  },
  {
    name: 'that a left command begins is not stored',
    file: 'stateful/engine/left-behind.ts',
    find: '    await session.began(ids)\n',
    replace: '',
    test: 'test/engine/engine.test.ts',
    claim: 'a command that ends its process again and again dies',
  },
  {
    name: 'of a batch with a value that the database refuses all commands fail',
    file: 'stateful/engine/commit-works.ts',
    find: 'else if (piece.works.length > 1) pieces = [...halves(piece), ...rest]',
    replace: 'else if (piece.works.length < 1) pieces = [...halves(piece), ...rest]',
    test: 'test/engine/faults.test.ts',
    claim: 'of a batch with a value that the database refuses, that command alone fails',
  },
  {
    name: 'two keys that differ in half a character are one',
    file: 'contract/key.ts',
    find: 'if (!key.isWellFormed())',
    replace: 'if (key.length < 0)',
    test: 'src/contract/key.test.ts',
    claim: 'keys that a database cannot keep apart are refused',
  },
  {
    name: 'the fence is a write',
    file: commit,
    find: `sql: \`select 1 from unnest($1::int[], $2::bigint[]) t(partition, epoch)
      join twofold._partition p on p.partition = t.partition and p.epoch = t.epoch order by p.partition for share of p\``,
    replace: `sql: \`update twofold._partition p set epoch = p.epoch from unnest($1::int[], $2::bigint[]) t(partition, epoch)
      where p.partition = t.partition and p.epoch = t.epoch returning 1\``,
    test: commits,
    claim: 'no batch writes to the tables that all batches read',
  },
  {
    name: 'the pause after a failure does not grow',
    file: 'runtime/backoff.ts',
    find: 'minMs * 2 ** Math.min(attempt - 1, 30)',
    replace: 'minMs * attempt',
    test: 'src/runtime/backoff.test.ts',
    claim: 'the bound doubles with every attempt up to the longest',
  },
  {
    name: 'the pause after a failure has a least length',
    file: 'runtime/backoff.ts',
    find: 'Math.floor(random() * ',
    replace: 'Math.floor((0.5 + random() / 2) * ',
    test: 'src/runtime/backoff.test.ts',
    claim: 'the pause is drawn from all of it',
  },
  {
    name: 'a dead letter is without the condition and the claim of its command',
    file: commit,
    find: 'textArray(deadLetters.map(({ envelope: { input, ...head } }) =>',
    replace: 'textArray(deadLetters.map(({ envelope: { input, claim: _, condition: __, ...head } }) =>',
    test: 'test/engine/failing.test.ts',
    claim: 'a dead letter holds all that its command was',
  },
]
