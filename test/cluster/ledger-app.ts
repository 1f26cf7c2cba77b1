// An app for tests of ownership: accounts that remember in which order their commands took effect, and one command that stops its process.
import { z } from 'zod'
import { command, defineApp, defineContract, entity, event, run, stateful } from 'twofold'

const transfer = z.object({ from: z.string(), to: z.string(), amount: z.int() })
const both = (given: { from: string; to: string }): [string, string] => [given.from, given.to]

const ledger = defineContract('ledger', {
  commands: {
    note: command({ input: z.object({ account: z.string(), number: z.int() }), key: (given) => given.account }),
    transfer: command({ input: transfer, key: both }),
    freeze: command({ input: transfer, key: both }),
  },
  events: { changed: event(z.object({ account: z.string(), number: z.int() })) },
})

const ledgerStateful = stateful(ledger, {
  entity: entity(ledger, { initial: () => ({ balance: 0, numbers: [] as number[] }) }),
  handlers: {
    note(state, { account, number }, { emit }) {
      state.numbers.push(number)
      emit.changed({ account, number })
    },
    transfer([from, to], { from: account, amount }, { emit }) {
      from.balance -= amount
      to.balance += amount
      emit.changed({ account, number: amount })
    },
    // Stops its process in the middle, with whatever is locked at that moment; another process runs it through.
    freeze([from, to], { from: account, amount }, { emit }) {
      if (process.env['FREEZES'] === 'yes') process.kill(process.pid, 'SIGSTOP')
      from.balance -= amount
      to.balance += amount
      emit.changed({ account, number: amount })
    },
  },
})

const roles = process.env['ROLES']?.split(',') as readonly ('stateless' | 'stateful')[] | undefined
await run(defineApp('ledger', [ledgerStateful]), { port: 0, roles })
