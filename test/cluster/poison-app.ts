// An app some of whose handlers never return, or end their process.
import { z } from 'zod'
import { command, defineApp, defineContract, entity, run, stateful, statefulSql } from 'twofold'

const input = z.object({ account: z.string() })
const later = { input, key: (given: { account: string }) => given.account, respond: 'accepted' as const }
const both = { ...later, key: ({ account }: { account: string }) => [account, 'shared'] }

const accounts = defineContract('accounts', {
  commands: { credit: command(later), spin: command(later), leave: command(later) },
})

const accountsStateful = stateful(accounts, {
  entity: entity(accounts, { initial: () => ({ credits: 0 }) }),
  handlers: {
    credit(state) {
      state.credits += 1
    },
    spin() {
      for (;;);
    },
    leave() {
      process.kill(process.pid, 'SIGKILL')
    },
  },
})

const gates = defineContract('gates', { commands: { open: command(later) } })

// Where the state begins is the program's own code too.
const gatesStateful = stateful(gates, {
  entity: entity(gates, {
    initial(key) {
      if (key === 'bad') for (;;);
      return { opened: 0 }
    },
  }),
  handlers: {
    open(state) {
      state.opened += 1
    },
  },
})

const ledger = defineContract('ledger', {
  commands: { enter: command(later), share: command(both), block: command(both), quit: command(both) },
})

const ADD = 'insert into entry as e values ($1, 1) on conflict (account) do update set count = e.count + 1'

const ledgerStateful = statefulSql(ledger, {
  handlers: {
    async enter({ account }, { tx }) {
      await tx.query(ADD, [account])
    },
    async share({ account }, { tx }) {
      for (const each of [account, 'shared']) await tx.query(ADD, [each])
    },
    async block({ account }, { tx }) {
      await tx.query(ADD, [account])
      for (;;);
    },
    async quit({ account }, { tx }) {
      await tx.query(ADD, [account])
      process.kill(process.pid, 'SIGKILL')
      await new Promise(() => undefined)
    },
  },
})

await run(defineApp(process.env['POISON_APP'] ?? 'accounts', [accountsStateful, gatesStateful, ledgerStateful]), {
  handlerMs: 800,
  partitionCount: 8,
  port: 0,
  prepare: async (tx) => void (await tx.query('create table if not exists entry (account text primary key, count int not null)')),
})
