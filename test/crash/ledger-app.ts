// The service that is killed: accounts whose every change is told by one event that says which version it led to, so that whatever is
// lost, doubled or reordered shows in the events.
import { appendFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { z } from 'zod'
import {
  type Transaction,
  command,
  defineApp,
  defineContract,
  entity,
  event,
  projection,
  reactor,
  rejection,
  run,
  stateful,
  statefulSql,
} from 'twofold'
import { WATCH_CONSUMPTION, WATCH_PARKED_ALONE } from './stored-together.ts'

const change = z.object({ key: z.string(), version: z.int(), by: z.int() })
const input = z.object({ op: z.string(), key: z.string() })
const state = z.object({ cents: z.int(), version: z.int() })
const one = { input, key: (given: { key: string }) => given.key, reply: state }
const retry = { minMs: 5, maxMs: 50 }

const ledger = defineContract('ledger', {
  commands: {
    credit: command(one),
    deposit: command({ ...one, respond: 'accepted' }),
    put: command({ ...one, ifMatch: 'required' }),
    stumble: command({ ...one, respond: 'accepted', retry: { ...retry, attempts: 30 } }),
    fall: command({ ...one, respond: 'accepted', retry: { ...retry, attempts: 2 } }),
    transfer: command({
      input: z.object({ op: z.string(), key: z.string(), to: z.string(), cents: z.int() }),
      key: (given) => [given.key, given.to],
      reply: state,
      rejections: { insufficient: rejection(state) },
    }),
  },
  events: { changed: event(z.object({ op: z.string(), changes: z.array(change) })) },
})

/** The same with SQL handlers, on a table of one's own. */
const books = defineContract('books', {
  commands: {
    book: command(one),
    shift: command({
      input: z.object({ op: z.string(), key: z.string(), to: z.string() }),
      key: (given) => [given.key, given.to],
      reply: state,
    }),
  },
  events: { changed: event(z.object({ op: z.string(), changes: z.array(change) })) },
})

type Account = z.infer<typeof state>

/** How often `stumble` has failed in this process, by operation. */
const stumbled = new Map<string, number>()

function changed(account: Account, by: number): Account {
  account.cents += by
  account.version += 1
  return { ...account }
}

const ledgerStateful = stateful(ledger, {
  entity: entity(ledger, { initial: () => ({ cents: 100, version: 0 }) }),
  handlers: {
    credit(account, { op, key }, { emit }) {
      const after = changed(account, 1)
      emit.changed({ op, changes: [{ key, version: after.version, by: 1 }] })
      return after
    },
    deposit(account, { op, key }, { emit }) {
      const after = changed(account, 1)
      emit.changed({ op, changes: [{ key, version: after.version, by: 1 }] })
      return after
    },
    put(account, { op, key }, { emit }) {
      const after = changed(account, 0)
      emit.changed({ op, changes: [{ key, version: after.version, by: 0 }] })
      return after
    },
    stumble(account, { op, key }, { emit }) {
      const after = changed(account, 1)
      emit.changed({ op, changes: [{ key, version: after.version, by: 1 }] })
      const times = stumbled.get(op) ?? 0
      stumbled.set(op, times + 1)
      if (times < 2) throw new Error(`${op} stumbles`)
      return after
    },
    fall(account, { op }) {
      changed(account, 1_000_000)
      throw new Error(`${op} falls`)
    },
    transfer([from, to], { op, key, to: toKey, cents }, { emit, reject }) {
      if (from.cents < cents) return reject.insufficient({ ...from })
      const after = changed(from, -cents)
      const other = changed(to, cents)
      emit.changed({
        op,
        changes: [
          { key, version: after.version, by: -cents },
          { key: toKey, version: other.version, by: cents },
        ],
      })
      return after
    },
  },
})

async function booked(tx: Transaction, key: string, by: number): Promise<Account> {
  const { rows } = await tx.query<Account>(
    `insert into book values ($1, 100 + $2::int, 1)
     on conflict (key) do update set cents = book.cents + $2::int, version = book.version + 1 returning cents, version`,
    [key, by],
  )
  return rows[0] as Account
}

const booksStateful = statefulSql(books, {
  handlers: {
    async book({ op, key }, { tx, emit }) {
      const after = await booked(tx, key, 1)
      emit.changed({ op, changes: [{ key, version: after.version, by: 1 }] })
      return after
    },
    async shift({ op, key, to }, { tx, emit }) {
      const after = await booked(tx, key, -1)
      const other = await booked(tx, to, 1)
      emit.changed({
        op,
        changes: [
          { key, version: after.version, by: -1 },
          { key: to, version: other.version, by: 1 },
        ],
      })
      return after
    },
  },
})

/** All changes, added up: wrong as soon as one is applied twice or not at all. */
const sums = projection('sums', {
  from: { ledger, books },
  tables: 'create table sums (key text primary key, cents bigint not null, changes bigint not null)',
  async batch(events, transaction) {
    const totals = new Map<string, { cents: number; changes: number }>()
    for (const { key, by } of events.flatMap(({ data }) => data.changes)) {
      const { cents, changes } = totals.get(key) ?? { cents: 0, changes: 0 }
      totals.set(key, { cents: cents + by, changes: changes + 1 })
    }
    const rows = [...totals].toSorted(([a], [b]) => (a < b ? -1 : 1))
    await transaction.query(
      `insert into sums select * from unnest($1::text[], $2::bigint[], $3::bigint[])
       on conflict (key) do update set cents = sums.cents + excluded.cents, changes = sums.changes + excluded.changes`,
      [rows.map(([key]) => key), rows.map(([, row]) => row.cents), rows.map(([, row]) => row.changes)],
    )
  },
})

function noted({ id }: { readonly id: string }): void {
  appendFileSync(process.env['LEDGER_FILE'] ?? '', `${id}\n`)
}

/** An effect outside the database: a line per event, in a file that all instances share. */
const lines = reactor('lines', {
  from: { ledger, books },
  start: 'beginning',
  on: { ledger: { changed: noted }, books: { changed: noted } },
})

// A process that is killed would not leave what it compiled to the next one, and there are a hundred.
flushCompileCache()
await run(defineApp(process.env['LEDGER_APP'] ?? 'ledger', [ledgerStateful, booksStateful, sums, lines]), {
  port: 0,
  partitionCount: 16,
  prepare: async (tx) => {
    await tx.query('create table if not exists book (key text primary key, cents int not null, version int not null)')
    await tx.query(WATCH_CONSUMPTION)
    if (process.env['TWOFOLD_CARRIER'] !== undefined) await tx.query(WATCH_PARKED_ALONE)
  },
})
