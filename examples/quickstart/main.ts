// A counter as a hybrid service: what can be said, the side that owns the state, the side that answers.
import { command, createClient, defineApp, defineContract, entity, query, rejection, start, stateful, stateless } from 'twofold'
import { z } from 'zod'

const counters = defineContract('counters', {
  commands: {
    add: command({
      route: 'POST /counters/:name/add',
      input: z.object({ name: z.string(), amount: z.int() }),
      key: (input) => input.name, // commands of one counter run one after the other, wherever they come from
      reply: z.object({ total: z.int() }),
      rejections: { belowZero: rejection(z.object({ total: z.int() })) },
    }),
  },
  queries: {
    counter: query({ route: 'GET /counters/:name', input: z.object({ name: z.string() }), output: z.object({ total: z.int() }) }),
  },
})

const counter = entity(counters, { initial: () => ({ total: 0 }) })

const countersStateful = stateful(counters, {
  entity: counter,
  handlers: {
    add(state, { amount }, { reject }) {
      if (state.total + amount < 0) return reject.belowZero({ total: state.total })
      state.total += amount
      return { total: state.total }
    },
  },
})

const countersStateless = stateless(counters, {
  queries: {
    counter: async ({ name }, { read }) => ({ total: (await read(counter, name))?.state.total ?? 0 }),
  },
})

const app = defineApp('quickstart', [countersStateful, countersStateless])
const dataDir = process.env['TWOFOLD_DATA_DIR'] ?? '.twofold/quickstart'
await using running = await start(app, { dataDir, port: 0, logLevel: 'warn' }).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error) // one sentence that says what to do
  process.exit(1)
})

const client = createClient(counters, { url: running.url })
const name = `visits-${Date.now()}`
const adding = Array.from({ length: 100 }, () => client.add({ name, amount: 1 })) // a hundred at once: none is lost
await Promise.all(adding)
console.log('after 100 additions:', await client.counter({ name }))

const outcome = await client.add({ name, amount: -1000 })
if (outcome.status === 'rejected') console.log('rejected:', outcome.code, outcome.data)

const once = { idempotencyKey: `key-${name}` }
await client.add({ name, amount: 5 }, once)
await client.add({ name, amount: 5 }, once) // the same request again changes nothing
console.log('after the same request twice:', await client.counter({ name }))
