// Bugs in how requests are told apart, and in what is demanded of an entity or a handler. See ./bugs.ts.
import type { PlantedBug } from './bugs.ts'

const commit = 'adapters/postgres/commit-statement.ts'
const plan = 'stateful/engine/plan-batch.ts'
const claims = 'test/engine/claims.test.ts'
const conditions = 'test/engine/conditions.test.ts'
const runCommand = 'stateful/engine/run-command.ts'
const housekeeping = 'src/adapters/postgres/housekeeping.test.ts'
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
    find: '(hash, fingerprint, command_id) select * from unnest($1::text[], $2::text[], $3::uuid[])`,',
    replace: '(hash, fingerprint, command_id) select * from unnest($1::text[], $2::text[], $3::uuid[]) on conflict do nothing`,',
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
    name: 'a repeated request is refused where the log takes nothing new',
    file: 'stateless/gateway/commands.ts',
    find: '      return this.#unlessRepeated(refusal, envelope.claim)\n',
    replace: '      throw refusal\n',
    test: 'src/stateless/gateway/replays.test.ts',
    claim: 'where the log is full, a repeated request still gets its first answer',
  },
  {
    name: 'a repeated request is refused where admission takes nothing new',
    file: 'stateless/gateway/commands.ts',
    find: '      return this.#unlessRepeated(refusal, claim)\n',
    replace: '      throw refusal\n',
    test: 'src/stateless/gateway/replays.test.ts',
    claim: 'where admission refuses, a repeated request still gets its first answer',
  },
  {
    name: 'an Idempotency-Key is that of all tenants',
    file: 'stateless/gateway/idempotency-key.ts',
    find: "JSON.stringify([scope.tenant ?? '', caller,",
    replace: "JSON.stringify(['', caller,",
    test: 'src/stateless/gateway/replays.test.ts',
    claim: 'one key of two tenants is two keys',
  },
  {
    name: 'outcomes of a service that keeps them longer go with those of the others',
    file: 'adapters/postgres/outcome-tables.ts',
    find: 'if (hours <= RETENTION_HOURS_MIN) continue',
    replace: 'if (hours > 0) continue',
    test: housekeeping,
    claim: 'a service that keeps its outcomes longer keeps its own only',
  },
  {
    name: 'outcomes are dropped by the age of their commands, however late these finished',
    file: 'adapters/postgres/outcome-tables.ts',
    find: '  return found.rowCount !== 0\n}\n',
    replace: '  return found === undefined\n}\n',
    test: housekeeping,
    claim: 'a command that waited for days keeps its outcome',
  },
  {
    name: 'the claim of a command that still waits in the log goes with its day',
    file: 'adapters/postgres/housekeeping.ts',
    find: '            and not exists (select 1 from twofold._command w where w.first_id <= l.command_id and w.last_id >= l.command_id))',
    replace: ')',
    test: housekeeping,
    claim: 'an old claim goes, but never that of a command that still waits',
  },
  {
    name: 'the claim of a parked command goes with its day',
    file: 'adapters/postgres/housekeeping.ts',
    find: '            and not exists (select 1 from twofold._parked p where p.id = l.command_id)\n',
    replace: '',
    test: housekeeping,
    claim: 'an old claim goes, but never that of a command that still waits',
  },
  {
    name: 'a command that its owner may have begun is told not to be taken',
    file: 'stateless/gateway/commands.ts',
    find: "if (begun && error instanceof TwofoldError && error.code !== 'IN_DOUBT')",
    replace: 'if (begun && commandId === undefined)',
    test: 'src/stateless/gateway/commands.test.ts',
    claim: 'a direct call in doubt whose log is away',
  },
]
