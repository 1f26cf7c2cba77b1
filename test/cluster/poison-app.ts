// An app some of whose handlers never return, or end their process.
import { z } from 'zod'
import { command, defineApp, defineContract, entity, run, stateful } from 'twofold'

const input = z.object({ account: z.string() })
const later = { input, key: (given: { account: string }) => given.account, respond: 'accepted' as const }

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

await run(defineApp('accounts', [accountsStateful]), { handlerMs: 200, port: 0 })
