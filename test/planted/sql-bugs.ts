// Bugs in how SQL handlers are run. See ./bugs.ts.
import type { PlantedBug } from './bugs.ts'

const store = 'adapters/postgres/sql-store.ts'
const transaction = 'adapters/postgres/handler-transaction.ts'
const job = 'stateful/sql/run-job.ts'
const sql = 'test/engine/sql.test.ts'
const faults = 'test/engine/sql-faults.test.ts'

export const sqlBugs: readonly PlantedBug[] = [
  {
    name: 'the outcome of an SQL handler is stored after its transaction',
    file: store,
    find: '    const stored = this.#client.query(statementOf(batch))\n',
    replace: "    await this.#client.query('commit')\n    const stored = this.#client.query(statementOf(batch))\n",
    test: sql,
    claim: 'what an SQL handler changes is stored with its outcome and its event in one transaction',
  },
  {
    name: 'the transaction of an SQL handler is not fenced',
    file: 'adapters/postgres/commit-statement.ts',
    find: 'p.partition = t.partition and p.epoch = t.epoch order by p.partition for share of p',
    replace: 'p.partition = t.partition order by p.partition for share of p',
    test: faults,
    claim: 'a former owner stores nothing of an SQL handler',
  },
  {
    name: 'SQL commands of one key do not wait for each other',
    file: 'stateful/sql/executor.ts',
    find: 'const turn = this.#keys.take(job.names)',
    replace: 'const turn = this.#keys.take([])',
    test: sql,
    claim: 'SQL commands of one key run one after the other',
  },
  {
    name: 'keys of other owners are not locked',
    file: store,
    find: 'select count(pg_advisory_xact_lock(hash))',
    replace: 'select count(hash)',
    test: sql,
    claim: 'several keys of an SQL command change together',
  },
  {
    name: 'the first command of a row consumes it',
    file: job,
    find: 'row.remaining === 1 ? [row.seq]',
    replace: 'row.remaining >= 1 ? [row.seq]',
    test: sql,
    claim: 'a row with commands of several keys and of both kinds',
  },
  {
    name: 'what a handler changed before it rejected is kept',
    file: job,
    find: "if (planned.batch.outcomes[0]?.status === 'succeeded')",
    replace: "if (planned.batch.outcomes[0]?.status !== 'dead')",
    test: sql,
    claim: 'reject undoes what an SQL handler changed',
  },
  {
    name: 'a handler may end its transaction',
    file: transaction,
    find: 'if (ENDS.test(statement.text))',
    replace: 'if (false)',
    test: sql,
    claim: 'what would begin or end the transaction',
  },
  {
    name: 'a deadlock counts as an attempt',
    file: transaction,
    find: "new Set(['40001', '40P01', '55P03'])",
    replace: "new Set(['40001', '55P03'])",
    test: faults,
    claim: 'a deadlock between two SQL handlers',
  },
  {
    name: 'an SQL handler is not cut at its deadline',
    file: job,
    find: 'const timer = setTimeout(late, handlerMs)',
    replace: 'const timer = setTimeout(late, 2 ** 30)',
    test: faults,
    claim: 'an SQL handler that does not end is cut',
  },
  {
    name: 'the time in which it may write ends while a handler runs, and it writes',
    file: job,
    find: "if (!this.#options.mayWrite()) throw new BatchAborted('fenced', 'the lease of this instance",
    replace: "if (false) throw new BatchAborted('fenced', 'the lease of this instance",
    test: faults,
    claim: 'while its lease may have ended',
  },
]
