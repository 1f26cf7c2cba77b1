// The work that every scenario does: credit one of many accounts, or move money between two, and the check that all of it happened once.
import type pg from 'pg'
import { z } from 'zod'
import { command, defineApp, defineContract, entity, event, rejection, stateful } from 'twofold'

const account = z.string()
const cents = z.int()
const balance = z.object({ cents })

export const bank = defineContract('bank', {
  commands: {
    credit: command({
      route: 'POST /accounts/:account/credits',
      input: z.object({ account, cents }),
      key: (input) => input.account,
      reply: balance,
    }),
    creditLater: command({
      route: 'POST /accounts/:account/later-credits',
      input: z.object({ account, cents }),
      key: (input) => input.account,
      respond: 'accepted',
    }),
    transfer: command({
      route: 'POST /transfers',
      input: z.object({ from: account, to: account, cents }),
      key: (input) => [input.from, input.to],
      rejections: { insufficientFunds: rejection(balance) },
    }),
  },
  events: { moved: event(z.object({ account, cents })) },
})

const bankStateful = stateful(bank, {
  entity: entity(bank, { initial: () => ({ cents: 0 }) }),
  handlers: {
    credit(state, input, { emit }) {
      state.cents += input.cents
      emit.moved(input)
      return { cents: state.cents }
    },
    creditLater(state, input, { emit }) {
      state.cents += input.cents
      emit.moved(input)
    },
    transfer([from, to], input, { emit, reject }) {
      if (from.cents < input.cents) return reject.insufficientFunds({ cents: from.cents })
      from.cents -= input.cents
      to.cents += input.cents
      emit.moved({ account: input.to, cents: input.cents })
    },
  },
})

export const bankApp = defineApp('bank', [bankStateful])

export function accountName(number: number): string {
  return `account-${number}`
}

/** What a scenario believes has happened. */
export interface Expected {
  /** Commands that were answered as done. */
  readonly done: number
  /** The sum of all balances. */
  readonly cents: number
  /** Events stored; default one for each command done. */
  readonly events?: number
}

/** Compares the database with what was answered: sums, one outcome and one event per command, versions without gaps, an empty log. */
export async function verifyBank(client: pg.ClientBase, { done, cents: total, events = done }: Expected): Promise<void> {
  const { rows } = await client.query<Record<'cents' | 'versions' | 'outcomes' | 'events' | 'waiting' | 'writes', string>>(`select
    (select coalesce(sum((state::json ->> 'cents')::bigint), 0) from twofold._entity) as cents,
    (select coalesce(sum(version), 0) from twofold._entity) as versions,
    (select count(*) from twofold._outcome where status = 'succeeded') as outcomes,
    (select coalesce(sum(count), 0) from twofold._event) as events,
    (select count(*) from twofold._command) as waiting,
    (select count(*) * 1 + count(*) filter (where command = 'transfer') from twofold._outcome where status = 'succeeded') as writes`)
  const found = rows[0]
  const expected = { cents: total, outcomes: done, events, waiting: 0 }
  const faults = Object.entries(expected).filter(([name, value]) => Number(found?.[name as keyof typeof expected]) !== value)
  if (faults.length > 0)
    throw new Error(
      faults.map(([name, value]) => `${name}: ${String(found?.[name as keyof typeof expected])} instead of ${value}`).join('; '),
    )
  if (found?.versions !== found?.writes) throw new Error(`versions add up to ${found?.versions}, writes to ${found?.writes}`)
}
