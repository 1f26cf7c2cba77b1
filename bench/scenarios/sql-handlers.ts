// The same credit as `one-transaction-each`, on a table of the same shape, by an SQL handler: it reads the account and writes it. What is
// done by hand there (deduplication, the event) is Twofold's part here, with the outcome, the order of the key and the fence besides.
import type pg from 'pg'
import { z } from 'zod'
import { command, defineApp, defineContract, event, statefulSql } from 'twofold'
import type { Backend } from '../../src/app/backend.ts'
import { accountName } from '../bank.ts'
import { withCpu } from '../cpu.ts'
import { closedLoad } from '../load.ts'
import { resultOf, type Scenario } from '../scenario.ts'
import { withBackend } from './engine.ts'

const ACCOUNTS = 10_000
const WARM_UP_SECONDS = 2

/** As many as `one-transaction-each` has connections. */
const CALLERS = 32

const TABLE = `
  create table account (name text primary key, cents bigint not null, version bigint not null) with (fillfactor = 75);
  insert into account select 'account-' || n, 0, 0 from generate_series(0, ${ACCOUNTS - 1}) n`

const vault = defineContract('vault', {
  commands: {
    credit: command({
      input: z.object({ account: z.string(), cents: z.int() }),
      key: (input) => input.account,
      reply: z.object({ cents: z.int() }),
    }),
  },
  events: { moved: event(z.object({ account: z.string(), cents: z.int() })) },
})

const vaultSql = statefulSql(vault, {
  handlers: {
    async credit({ account, cents }, { tx, emit }) {
      const { rows } = await tx.query<{ cents: string }>('select cents, version from account where name = $1 for update', [account])
      const balance = Number(rows[0]?.cents) + cents
      await tx.query('update account set cents = $2, version = version + 1 where name = $1', [account, balance])
      emit.moved({ account, cents })
      return { cents: balance }
    },
  },
})

const vaultApp = defineApp('vault', [vaultSql])

export const sqlHandlers: Scenario = {
  name: 'sql-handlers',
  async run(setting) {
    const credited = async (backend: Backend, client: pg.Client) => {
      await client.query(TABLE)
      const credit = crediting(backend)
      const before = await closedLoad(CALLERS, WARM_UP_SECONDS, credit)
      const load = await withCpu(
        client,
        () => closedLoad(CALLERS, setting.seconds, credit),
        ({ sent }) => sent,
      )
      await verify(client, before.sent + load.sent)
      return load
    }
    return [resultOf('sql-handlers', await withBackend(setting, credited, { app: vaultApp }))]
  },
}

function crediting({ ports }: Backend): (at: number) => Promise<void> {
  return async (at) => {
    const account = accountName((at * 7919) % ACCOUNTS)
    const input = `{"account":"${account}","cents":1}`
    const result = await ports.direct?.call({ id: ports.ids.next(), service: 'vault', command: 'credit', keys: [account], input })
    if (result?.status !== 'finished' || result.outcome.status !== 'succeeded') throw new Error(`a command ended as ${result?.status}`)
  }
}

/** Each credit once in the account, one outcome and one event for it, numbers of events without a gap. */
async function verify(client: pg.Client, done: number): Promise<void> {
  const { rows } = await client.query<Record<'cents' | 'versions' | 'outcomes' | 'events' | 'numbers', string>>(`select
    (select sum(cents) from account) as cents, (select sum(version) from account) as versions,
    (select count(*) from twofold._outcome where status = 'succeeded') as outcomes,
    (select sum(count) from twofold._event) as events,
    (select sum(last) from (select max(seq) as last from twofold._event group by partition) each) as numbers`)
  for (const [name, value] of Object.entries(rows[0] ?? {}))
    if (Number(value) !== done) throw new Error(`${name}: ${value} instead of ${done}`)
}
