// An app whose commands a carrier brings: accounts that remember the order in which they were changed, by an entity and by SQL.
import { z } from 'zod'
import { command, defineApp, defineContract, entity, event, stateful, statefulSql, type App } from 'twofold'

const input = z.object({ account: z.string(), number: z.int(), ballast: z.string().optional() })
const reply = z.object({ numbers: z.array(z.int()) })
const key = (given: { account: string }): string => given.account
const retry = { attempts: 3, minMs: 5, maxMs: 20 }

const bank = defineContract('bank', {
  commands: {
    note: command({ input, key, reply, retry }),
    send: command({ input, key, reply, retry, respond: 'accepted' }),
    shortcut: command({ input, key, reply, retry, order: 'perPath' }),
  },
  events: { noted: event(input) },
})

const books = defineContract('books', { commands: { book: command({ input, key, reply, respond: 'accepted', retry }) } })

/** Accounts whose commands fail as long as they are in here. */
export const failing = new Set<string>()

const noted = (state: { numbers: number[] }, { account, number }: z.infer<typeof input>): { numbers: number[] } => {
  if (failing.has(account)) throw new Error(`${account} fails`)
  state.numbers.push(number)
  return { numbers: [...state.numbers] }
}

const bankStateful = stateful(bank, {
  entity: entity(bank, { initial: (): { numbers: number[] } => ({ numbers: [] }) }),
  handlers: {
    note(state, given, { emit }) {
      emit.noted(given)
      return noted(state, given)
    },
    send(state, given, { emit }) {
      emit.noted(given)
      return noted(state, given)
    },
    shortcut: (state, given) => noted(state, given),
  },
})

const booksStateful = statefulSql(books, {
  handlers: {
    async book({ account, number }, { tx }) {
      const { rows } = await tx.query<{ numbers: number[] }>(
        `insert into book values ($1, array[$2::int]) on conflict (account) do update set numbers = book.numbers || $2::int returning numbers`,
        [account, number],
      )
      return { numbers: rows[0]?.numbers ?? [] }
    },
  },
})

const archive = defineContract('archive', { retentionHours: 48, commands: { file: command({ input, key, respond: 'accepted' }) } })

const archiveStateful = stateful(archive, {
  entity: entity(archive, { initial: (): { numbers: number[] } => ({ numbers: [] }) }),
  handlers: {
    file(state, { number }) {
      state.numbers.push(number)
    },
  },
})

/** `name`: part of the names at the broker. */
export function bankApp(name: string): App {
  return defineApp(name, [bankStateful, booksStateful])
}

/** Services that keep their outcomes for one day, and for two. */
export function archiveApp(name: string): App {
  return defineApp(name, [bankStateful, archiveStateful])
}
