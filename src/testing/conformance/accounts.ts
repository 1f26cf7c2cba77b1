// The app that the cases are run with: accounts that remember the numbers they were sent, kept by Twofold and in a table.
import { command } from '../../contract/command.ts'
import { defineContract } from '../../contract/define-contract.ts'
import { entity } from '../../contract/entity.ts'
import type { Schema } from '../../contract/schema.ts'
import { stateful } from '../../stateful/stateful.ts'
import { statefulSql } from '../../stateful/stateful-sql.ts'
import type { Entry } from './carrier-conformance.ts'

interface Sent {
  account: string
  number: number
  /** Makes the body as large as it may be. */
  ballast?: string
}

/** By hand: the suite brings no validator along. */
function schemaOf<Value>(jsonSchema: Record<string, unknown>, isValid: (value: Record<string, unknown>) => boolean): Schema<Value> {
  const described = { $schema: 'https://json-schema.org/draft/2020-12/schema', ...jsonSchema }
  return {
    '~standard': {
      version: 1,
      vendor: 'twofold-conformance',
      validate: (value) =>
        typeof value === 'object' && value !== null && isValid(value as Record<string, unknown>)
          ? { value: value as Value }
          : { issues: [{ message: 'it is not what the contract says' }] },
      jsonSchema: { input: () => described, output: () => described },
    },
  }
}

const input = schemaOf<Sent>(
  {
    type: 'object',
    properties: { account: { type: 'string' }, number: { type: 'integer' }, ballast: { type: 'string' } },
    required: ['account', 'number'],
    additionalProperties: false,
  },
  ({ account, number }) => typeof account === 'string' && Number.isInteger(number),
)

const reply = schemaOf<{ numbers: number[] }>(
  {
    type: 'object',
    properties: { numbers: { type: 'array', items: { type: 'integer' } } },
    required: ['numbers'],
    additionalProperties: false,
  },
  ({ numbers }) => Array.isArray(numbers),
)

const key = ({ account }: Sent): string => account
const retry = { attempts: 100, minMs: 10, maxMs: 50 }

const accounts = defineContract('accounts', {
  commands: {
    ask: command({ input, key, reply, retry }),
    tell: command({ input, key, reply, retry, respond: 'accepted' }),
  },
})

const tables = defineContract('tables', { commands: { tell: command({ input, key, respond: 'accepted', retry }) } })

export interface Hooks {
  /** Accounts whose commands fail for the time being. */
  readonly failing: ReadonlySet<string>
  /** A handler runs. */
  readonly ran: (account: string, number: number) => void
}

/** The app under a name of its own. */
export function accountsApp({ defineApp }: Entry, name: string, { failing, ran }: Hooks): unknown {
  const noted = (state: { numbers: number[] }, { account, number }: Sent): { numbers: number[] } => {
    ran(account, number)
    if (failing.has(account)) throw new Error(`'${account}' fails for the time being`)
    state.numbers.push(number)
    return { numbers: [...state.numbers] }
  }
  const components = [
    stateful(accounts, {
      entity: entity(accounts, { initial: (): { numbers: number[] } => ({ numbers: [] }) }),
      handlers: { ask: noted, tell: noted },
    }),
    statefulSql(tables, {
      handlers: {
        async tell({ account, number }, { tx }) {
          // A slow one.
          await tx.query('select pg_sleep(0.01)')
          await tx.query(
            `insert into told values ($1, array[$2::int]) on conflict (account) do update set numbers = told.numbers || $2::int`,
            [account, number],
          )
        },
      },
    }),
  ]
  return defineApp(name, components as never)
}
