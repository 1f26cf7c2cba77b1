// Bugs in carrying commands by a broker. See ./bugs.ts.
import type { PlantedBug } from './bugs.ts'

const works = 'stateful/engine/carried-works.ts'
const carriedLog = 'stateless/carried/carried-log.ts'
const memory = 'test/carriers/memory.test.ts'
const unit = 'src/stateful/engine/carried-works.test.ts'

export const carrierBugs: readonly PlantedBug[] = [
  {
    name: 'a log that was empty once is never looked into again',
    file: carriedLog,
    find: 'performance.now() - this.#emptyAt < EMPTY_MS',
    replace: 'this.#emptyAt > 0',
    test: 'src/stateless/carried/carried-log.test.ts',
    claim: 'a log that another program still appends to',
  },
  {
    name: 'a broker that hangs is waited for',
    file: works,
    find: 'await Promise.race([released.then(() => true), pause(RELEASE_MS_MAX, waited.signal).then(() => false)])',
    replace: 'await released.then(() => true)',
    test: 'test/carriers/poison.test.ts',
    claim: 'a broker that does not let go of a partition',
  },
  {
    name: 'a carried key is not looked at',
    file: works,
    find: 'every((name) => keyFault(name) === undefined)',
    replace: "every((name) => typeof name === 'string')",
    test: 'test/carriers/poison.test.ts',
    claim: 'a key that cannot be stored does not hold its partition up',
  },
  {
    name: 'a dead letter holds whatever was delivered as if it were JSON',
    file: 'adapters/postgres/commit-statement.ts',
    find: '"input":${asJson(input)}',
    replace: '"input":${input}',
    test: 'test/carriers/poison.test.ts',
    claim: 'an input that is no JSON can be read',
  },
  {
    name: 'a delivered command is acknowledged before its effect is stored',
    file: works,
    find: "    return { envelope, partition, origin: { from: 'carried', leftBehind, settle }",
    replace: "    delivery.done()\n    return { envelope, partition, origin: { from: 'carried', leftBehind, settle }",
    test: unit,
    claim: 'a command is acknowledged once it is settled',
  },
  {
    name: 'what was delivered behind a command that came back is run all the same',
    file: works,
    find: '    line.generation += 1\n    line.works = []\n    line.failures += 1',
    replace: '    line.failures += 1',
    test: unit,
    claim: 'when a command comes back nothing delivered behind it is handed out',
  },
  {
    name: 'what finds no room is handed out behind what came later',
    file: works,
    find: 'line.works.unshift(work)',
    replace: 'line.works.push(work)',
    test: unit,
    claim: 'what finds no room is handed out again, in its place',
  },
  {
    name: 'what a dead owner may have died of runs like anything else',
    file: works,
    find: 'line.leftBehind > 0 && delivery.redelivered',
    replace: 'line.leftBehind < 0 && delivery.redelivered',
    test: unit,
    claim: 'what was delivered to an owner that died is run under watch',
  },
  {
    name: 'a command for another partition is run',
    file: works,
    find: 'if (home === partition) return { envelope }',
    replace: 'if (home >= 0) return { envelope }',
    test: memory,
    claim: 'what is no command becomes a dead letter',
  },
  {
    name: 'a retry leaves a claim alone whose command was never published',
    file: 'stateless/gateway/commands.ts',
    find: '    await this.#appendedAgain(first, claim, wait)\n',
    replace: '',
    test: memory,
    claim: 'a claim whose command was never published is made good',
  },
  {
    name: 'commands are published while earlier ones wait in the log',
    file: carriedLog,
    find: 'if (await this.isBehindLog(envelope)) return',
    replace: 'if (await this.isBehindLog(envelope).then(() => false)) return',
    test: 'src/stateless/carried/carried-log.test.ts',
    claim: 'a log that another program still appends to',
  },
  {
    name: 'what waits in the log is run from there, beside what the broker holds',
    file: 'stateful/engine/collect.ts',
    find: '    return NO_ROWS\n',
    replace: '    return session.take(held, batchSizeMax, [])\n',
    test: memory,
    claim: 'with `log` commands are taken while the broker is away',
  },
]
