// Bugs that somebody might make one day, each as one change to the source, and the test that must turn red.
import { bugsOfBounds } from './bugs-of-bounds.ts'

export interface PlantedBug {
  /** What is broken, as a sentence about the broken program. */
  readonly name: string
  /** Under `src`. */
  readonly file: string
  /** Must occur exactly once. */
  readonly find: string
  readonly replace: string
  readonly test: string
  /** The test's name, or the beginning of it. */
  readonly claim: string
  /** Where the test can only time out: why no assertion can notice. Without it a time-out counts as not noticed. */
  readonly showsBy?: { readonly timeOut: string }
}

const commit = 'adapters/postgres/commit-statement.ts'
const plan = 'stateful/engine/plan-batch.ts'
const works = 'stateful/engine/commit-works.ts'
const engine = 'test/engine/engine.test.ts'
const faults = 'test/engine/faults.test.ts'
const ownership = 'test/cluster/ownership.test.ts'

export const bugs: readonly PlantedBug[] = [
  ...bugsOfBounds,
  {
    name: 'a write does not check its version',
    file: commit,
    find: 'and e.key = t.key and e.version = t.was returning 1',
    replace: 'and e.key = t.key returning 1',
    test: engine,
    claim: 'a stale cached version never commits',
  },
  {
    name: 'what was only read is not checked',
    file: commit,
    find: 'e.version = t.version for share of e`',
    replace: 'true for share of e`',
    test: engine,
    claim: 'a rejection on a stale cached version is decided again',
  },
  {
    name: 'the fence does not compare epochs',
    file: commit,
    find: 'p.partition = t.partition and p.epoch = t.epoch order by p.partition for share of p',
    replace: 'p.partition = t.partition order by p.partition for share of p',
    test: engine,
    claim: 'once its epoch is over an engine stores nothing',
  },
  {
    name: 'the fence is a plain read',
    file: commit,
    find: 'order by p.partition for share of p`',
    replace: 'order by p.partition`',
    test: engine,
    claim: 'a takeover waits for the statement under way',
  },
  {
    name: 'the fence locks FOR KEY SHARE',
    file: commit,
    find: 'order by p.partition for share of p`',
    replace: 'order by p.partition for key share of p`',
    test: engine,
    claim: 'a takeover waits for the statement under way',
  },
  {
    name: 'outcomes are not stored with their effects',
    file: commit,
    find: 'count: (batch) => batch.outcomes.length,',
    replace: 'count: () => 0,',
    test: engine,
    claim: 'a direct command is stored with its state, outcome and event in one go',
  },
  {
    name: 'a duplicate outcome is skipped instead of refused',
    file: commit,
    find: 'unnest($12::bigint[]) as event_seq) t`,',
    replace: 'unnest($12::bigint[]) as event_seq) t on conflict do nothing`,',
    test: engine,
    claim: 'a command that was carried twice takes effect once',
  },
  {
    name: 'a command twice in one batch is run twice',
    file: plan,
    find: 'if (known !== undefined) return this.#duplicate(work, known)',
    replace: 'if (known !== undefined) this.#outcomes.delete(envelope.id)',
    test: engine,
    claim: 'a command that was carried twice takes effect once',
  },
  {
    name: 'rows of the log are not counted when they are consumed',
    file: commit,
    find: "arrays: ({ consumed }) => [plainArray(consumed)],\n    counted: 'conflict',",
    replace: 'arrays: ({ consumed }) => [plainArray(consumed)],',
    test: 'src/adapters/postgres/commit-statement.test.ts',
    claim: 'fewer rows than expected raise inside the statement',
  },
  {
    name: 'direct commands run before the log',
    file: 'stateful/engine/collect.ts',
    find: 'works: [...parked.works, ...rest.flatMap(worksOf), ...plain, ...direct]',
    replace: 'works: [...direct, ...parked.works, ...rest.flatMap(worksOf), ...plain]',
    test: engine,
    claim: 'a direct command never overtakes what the log holds for its key',
  },
  {
    name: 'a log in which nothing waited is not looked into again',
    file: 'adapters/postgres/log-reader.ts',
    find: "from twofold._command where seq > $1 limit 1'",
    replace: "from twofold._command where seq < $1 limit 1'",
    test: 'src/adapters/postgres/log-floor.test.ts',
    claim: 'what is appended to a log in which nothing waited',
  },
  {
    name: 'a commit does not look into the log that was not read',
    file: commit,
    find: 'select 1 where not exists (select 1 from twofold._command where seq > $1::bigint)',
    replace: 'select 1 where $1::bigint is not null',
    test: engine,
    claim: 'a commit that looks into the log itself stores nothing',
  },
  {
    name: 'what was put back comes after what has arrived since',
    file: 'stateful/engine/mailbox.ts',
    find: '[...works, ...this.#works]',
    replace: '[...this.#works, ...works]',
    test: 'src/stateful/engine/mailbox.test.ts',
    claim: 'what comes back goes before',
  },
  {
    name: 'a log that was not empty is taken for quiet',
    file: 'adapters/postgres/effect-store.ts',
    find: "error.failure === 'behind') this.#log.wake()",
    replace: "error.failure === 'behind') void 0",
    test: engine,
    claim: 'a commit that looks into the log itself stores nothing',
  },
  {
    name: 'a condition of a newer program is tried',
    file: 'stateful/engine/plan-batch.ts',
    find: 'condition !== undefined && !isKnown(condition)',
    replace: 'condition === undefined && !isKnown({ versions: [] })',
    test: 'test/engine/conditions.test.ts',
    claim: 'a command whose condition only a newer program knows',
  },
  {
    name: 'a key in hand is not known',
    file: 'stateful/engine/engine.ts',
    find: 'if (first !== undefined) return Promise',
    replace: 'if (first === null) return Promise',
    test: 'test/engine/claims.test.ts',
    claim: 'who repeats a request whose command is under way',
  },
  {
    name: 'callers are answered before the commit',
    file: works,
    find: '    await session.commit(planned.batch)\n    if (crash)',
    replace:
      '    this.#committed(planned)\n    await new Promise((resolve) => setTimeout(resolve, 5))\n    await session.commit(planned.batch)\n    if (crash)',
    test: faults,
    claim: 'nobody is answered before the commit',
  },
  {
    name: 'outcomes are stored after the commit',
    file: works,
    find: '    await session.commit(planned.batch)\n    if (crash)',
    replace: `    const { fences, outcomes } = planned.batch
    await session.commit({ ...planned.batch, outcomes: [] })
    const nothing = Object.fromEntries(Object.keys(planned.batch).map((part) => [part, []]))
    if (outcomes.length > 0) await session.commit({ ...nothing, fences, outcomes, unread: undefined } as unknown as typeof planned.batch)
    if (crash)`,
    test: 'test/crash/crash.test.ts',
    claim: 'drop at accept.append-sent',
  },
  {
    name: 'events are numbered on from a commit that was refused',
    file: works,
    find: '    await this.#renumber(session, piece)\n',
    replace: '',
    test: faults,
    claim: 'a commit whose answer is lost, and which is stored only later',
  },
  {
    name: 'a key whose head failed does not wait',
    file: plan,
    find: "if (waits || (origin.from !== 'parked' && this.#options.parkedKey(envelope.service, home))) return",
    replace: 'if (waits) return',
    test: engine,
    claim: 'after a death with .park. the key waits until it is released',
  },
  {
    name: 'a throw leaves what the handler changed',
    file: 'stateful/engine/run-command.ts',
    find: '      for (const cell of distinct) cell.undo()\n',
    replace: '',
    test: engine,
    claim: 'a handler that throws leaves no trace',
  },
  {
    name: 'keys of several owners are read without locks',
    file: 'adapters/postgres/entity-rows.ts',
    find: 'const LOCK = `${LOAD} for no key update of e`',
    replace: 'const LOCK = LOAD',
    test: faults,
    claim: 'keys of several owners that were locked cannot be written',
  },
  {
    name: 'claims are inserted in the order of arrival',
    file: 'adapters/postgres/command-log.ts',
    find: 'from wanted where hash is not null order by hash',
    replace: 'from wanted where hash is not null order by at',
    test: 'src/adapters/postgres/command-log.test.ts',
    claim: 'the same keys in different orders on two instances lock nobody out',
  },
  {
    name: 'a claim keeps the epoch',
    file: 'adapters/postgres/instances.ts',
    find: 'set owner = $1, epoch = epoch + 1 from free',
    replace: 'set owner = $1 from free',
    test: ownership,
    claim: 'only what is free is claimed, and every claim raises the epoch',
  },
  {
    name: 'a lease that has not ended is no obstacle',
    file: 'adapters/postgres/instances.ts',
    find: 'select 1 from twofold._instance i where i.id = p.owner and i.lease_until > clock_timestamp()))\n      order by p.partition for update',
    replace: 'select 1 from twofold._instance i where false))\n      order by p.partition for update',
    test: ownership,
    claim: 'only what is free is claimed, and every claim raises the epoch',
  },
  {
    name: 'a command that ends its process is begun for ever',
    file: plan,
    find: 'if (endsProcesses(work)) return this.#die(work, endedProcess(), BEGUN_MAX)\n',
    replace: '\n',
    test: engine,
    claim: 'a command that ends its process again and again dies',
  },
  {
    name: 'a condition is not looked at',
    file: 'contract/condition.ts',
    find: "return entity.exists && (condition === 'present' || condition.versions.includes(entity.version))",
    replace: 'return entity.exists',
    test: 'test/engine/linearizable.test.ts',
    claim: 'compare-and-set is linearizable for every key',
  },
  {
    name: 'a lease begins by the clock of its process',
    file: 'adapters/postgres/instances.ts',
    find: 'await this.#database.query(JOIN, [',
    replace: "await this.#database.query(JOIN.replace('clock_timestamp()', `'${new Date().toISOString()}'::timestamptz`), [",
    test: ownership,
    claim: 'a process whose clock is',
  },
  {
    name: 'the time to write is counted from the answer to a renewal',
    file: 'runtime/membership.ts',
    find: 'this.#writeUntil = sentAt + leaseMs * WRITE_SHARE\n      return true',
    replace: 'this.#writeUntil = performance.now() + leaseMs * WRITE_SHARE\n      return true',
    test: ownership,
    claim: 'how long an instance may write counts from before the renewal was sent',
  },
  {
    name: 'the lease of a stuck engine is renewed',
    file: 'app/backend.ts',
    find: 'healthy: () => engine.busyMs() < options.leaseMs,',
    replace: 'healthy: () => true,',
    test: 'test/cluster/lease.test.ts',
    claim: 'the lease of an engine that does not get on is not renewed',
  },
  {
    name: 'a takeover waits for the locks of a silent owner',
    file: 'adapters/postgres/instances.ts',
    find: '    await endLockHolders(this.#database, this.#log, id, partitions)\n',
    replace: '',
    test: ownership,
    claim: 'connections on which a former owner keeps locks are ended',
  },
  {
    name: 'locks of an owner whose lease runs are ended',
    file: 'adapters/postgres/lock-holders.ts',
    find: 'where i.id = p.owner and i.lease_until > clock_timestamp())',
    replace: 'where false)',
    test: ownership,
    claim: 'connections on which a former owner keeps locks are ended',
  },
  {
    name: 'whoever comes back from a silence does not say what it lost',
    file: 'stateful/partition/ownership.ts',
    find: '    this.#tellLost(cluster)\n',
    replace: '',
    test: 'test/cluster/stopped-owner.test.ts',
    claim: 'an owner that is stopped anywhere is replaced',
  },
]
