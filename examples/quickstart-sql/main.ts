// A service on a table that is already there: SQL handlers change it in the transaction that stores outcome and events.
import { command, createClient, defineApp, defineContract, event, query, rejection, start, stateless, statefulSql } from 'twofold'
import { kysely } from 'twofold/kysely'
import { z } from 'zod'

interface DB {
  wallet: { name: string; cents: number }
}

const cents = z.object({ cents: z.int() })
const wallets = defineContract('wallets', {
  commands: {
    deposit: command({
      input: z.object({ name: z.string(), cents: z.int().positive() }),
      key: (input) => input.name, // commands of one wallet run one after the other, those of others beside them
      reply: cents,
    }),
    transfer: command({
      input: z.object({ from: z.string(), to: z.string(), cents: z.int().positive() }),
      key: (input) => [input.from, input.to], // both change, or neither does
      reply: cents,
      rejections: { insufficientFunds: rejection(cents), noSuchWallet: rejection(undefined, { status: 404 }) },
    }),
  },
  queries: { wallet: query({ route: 'GET /wallets/:name', input: z.object({ name: z.string() }), output: cents }) },
  events: { transferred: event(z.object({ from: z.string(), to: z.string(), cents: z.int() })) },
})

const walletsStateful = statefulSql(wallets, {
  handlers: {
    async deposit(input, { tx }) {
      const add = kysely<DB>(tx)
        .insertInto('wallet')
        .values(input)
        .onConflict((row) => row.column('name').doUpdateSet((wallet) => ({ cents: wallet('wallet.cents', '+', input.cents) })))
      return add.returning('cents').executeTakeFirstOrThrow()
    },
    async transfer(input, { tx, emit, reject }) {
      const db = kysely<DB>(tx)
      const change = (name: string, by: number) =>
        db
          .updateTable('wallet')
          .set((wallet) => ({ cents: wallet('cents', '+', by) }))
          .where('name', '=', name)
          .returning('cents')
      const from = await change(input.from, -input.cents).executeTakeFirst()
      if (from === undefined) return reject.noSuchWallet()
      if (from.cents < 0) return reject.insufficientFunds({ cents: from.cents + input.cents }) // undoes the update
      if ((await change(input.to, input.cents).executeTakeFirst()) === undefined) return reject.noSuchWallet()
      emit.transferred(input)
      return from
    },
  },
})

const walletsStateless = stateless(wallets, {
  queries: {
    wallet: ({ name }, { db }) => kysely<DB>(db).selectFrom('wallet').select('cents').where('name', '=', name).executeTakeFirstOrThrow(),
  },
})

const app = defineApp('quickstart-sql', [walletsStateful, walletsStateless])
await using running = await start(app, {
  dataDir: process.env['TWOFOLD_DATA_DIR'] ?? '.twofold/quickstart-sql',
  port: 0,
  logLevel: 'warn',
  // Stands for the table that you have already.
  prepare: async (tx) => void (await tx.query('create table if not exists wallet (name text primary key, cents int not null)')),
})

const client = createClient(wallets, { url: running.url })
const [anna, ben] = [`anna-${Date.now()}`, `ben-${Date.now()}`]
await Promise.all([anna, ben].map((name) => client.deposit({ name, cents: 100 })))
await Promise.all(Array.from({ length: 50 }, () => client.transfer({ from: anna, to: ben, cents: 1 }))) // no race, no deadlock
await Promise.all(Array.from({ length: 20 }, () => client.transfer({ from: ben, to: anna, cents: 1 })))
console.log('anna:', await client.wallet({ name: anna }), 'ben:', await client.wallet({ name: ben }))
const refused = await client.transfer({ from: anna, to: ben, cents: 1000 })
if (refused.status === 'rejected') console.log('rejected:', refused.code, refused.data)
const unknown = await client.transfer({ from: anna, to: 'nobody', cents: 1 })
if (unknown.status === 'rejected') console.log('rejected:', unknown.code)
