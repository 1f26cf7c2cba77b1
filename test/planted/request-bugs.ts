// Bugs in how requests are told apart, and in what is demanded of an entity or a handler. See ./bugs.ts.
import type { PlantedBug } from './bugs.ts'

const commit = 'adapters/postgres/commit-statement.ts'
const plan = 'stateful/engine/plan-batch.ts'
const claims = 'test/engine/claims.test.ts'
const conditions = 'test/engine/conditions.test.ts'
const runCommand = 'stateful/engine/run-command.ts'
const runCommandTest = 'src/stateful/engine/run-command.test.ts'

export const requestBugs: readonly PlantedBug[] = [
  {
    name: 'the claim of a direct command is not stored with its effect',
    file: commit,
    find: 'count: (batch) => batch.claims.length,',
    replace: 'count: () => 0,',
    test: claims,
    claim: 'the claim of a direct command is stored with its effect',
  },
  {
    name: 'a claim that somebody else holds is passed over',
    file: commit,
    find: 'select * from unnest($1::text[], $2::text[], $3::uuid[]) returning 1`,',
    replace: 'select * from unnest($1::text[], $2::text[], $3::uuid[]) on conflict do nothing returning 1`,',
    test: claims,
    claim: 'one key for two entities with two owners has one effect',
  },
  {
    name: 'two commands with one key in one batch both run',
    file: plan,
    find: "if (claim === undefined || work.origin.from !== 'direct') return false",
    replace: 'if (claim !== undefined) return false',
    test: claims,
    claim: 'the claim of a direct command is stored with its effect',
  },
  {
    name: 'what was removed is still at its last version for whoever demands one',
    file: plan,
    find: 'this.#finish(work, ran, gone ? 0 : version)',
    replace: 'this.#finish(work, ran, version)',
    test: conditions,
    claim: 'what was removed does not exist',
  },
  {
    name: 'a condition is not looked at where the command runs',
    file: plan,
    find: 'if (condition !== undefined && home !== undefined && !conditionHolds(condition, home))',
    replace: 'if (condition !== undefined && home === undefined)',
    test: conditions,
    claim: 'of commands in the log that saw the same version one succeeds',
  },
  {
    name: 'an asynchronous handler is taken for one that has done its work',
    file: runCommand,
    find: "?.then === 'function') {",
    replace: "?.then === 'nothing') {",
    test: runCommandTest,
    claim: 'an asynchronous handler fails its command',
  },
  {
    name: 'the promise of an asynchronous handler ends the process',
    file: runCommand,
    find: '      Promise.resolve(reply).catch(() => undefined)\n',
    replace: '',
    test: runCommandTest,
    claim: 'an asynchronous handler fails its command',
  },
  {
    name: 'an Idempotency-Key is that of all tenants',
    file: 'stateless/gateway/idempotency-key.ts',
    find: "JSON.stringify([scope.tenant ?? '', caller,",
    replace: "JSON.stringify(['', caller,",
    test: 'src/stateless/gateway/replays.test.ts',
    claim: 'one key of two tenants is two keys',
  },
]
