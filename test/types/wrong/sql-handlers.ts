// Wrong SQL sides. Above each wrong line stands what the compiler must say about it; see ../wrong.test.ts.
import { statefulSql } from 'twofold'
import { wallets } from '../../../examples/shop/wallets/contract.ts'

const deposit = () => Promise.resolve({ balanceCents: 0 })
const transfer = deposit

// a handler is missing
// expect TS2741: Property 'transfer' is missing
statefulSql(wallets, { handlers: { deposit } })

// the reply has the wrong type
// expect TS2322: Type 'Promise<{ balance: number; }>' is not assignable to type 'Promise<{ balanceCents: number; }>'
statefulSql(wallets, { handlers: { transfer, deposit: async ({ amountCents }) => ({ balance: amountCents }) } })

// a handler that is not asynchronous
// expect TS2739: from type 'Promise<{ balanceCents: number; }>'
statefulSql(wallets, { handlers: { transfer, deposit: ({ amountCents }) => ({ balanceCents: amountCents }) } })

// a rejection the contract does not name
// expect TS2339: Property 'noMoney' does not exist | insufficientFunds
statefulSql(wallets, { handlers: { deposit, transfer: async (_, { reject }) => reject.noMoney() } })

// the data of a rejection is forgotten
// expect TS2554: Expected 1 arguments, but got 0
statefulSql(wallets, { handlers: { deposit, transfer: async (_, { reject }) => reject.insufficientFunds() } })

// event data is wrong
const eventData = statefulSql(wallets, {
  handlers: {
    transfer,
    async deposit(_, { emit }) {
      // expect TS2322: Type 'number' is not assignable to type 'string'
      emit.moneyMoved({ from: null, to: 7, amountCents: 1 })
      return { balanceCents: 0 }
    },
  },
})

export { eventData }
