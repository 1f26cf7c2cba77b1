// Wrong stateful sides. Above each wrong line stands what the compiler must say about it; see ../wrong.test.ts.
import { entity, stateful } from 'twofold'
import { z } from 'zod'
import { orders } from '../../../examples/shop/orders/contract.ts'
import { wallets } from '../../../examples/shop/wallets/contract.ts'
import { walletEntity } from '../../../examples/shop/wallets/wallet.ts'

const deposit = (wallet: { balanceCents: number }) => wallet
const transfer = ([from]: readonly { balanceCents: number }[]) => ({ balanceCents: from?.balanceCents ?? 0 })

// a handler is missing
// expect TS2741: Property 'transfer' is missing
stateful(wallets, { entity: walletEntity, handlers: { deposit } })

// a handler is misspelt
// expect TS2561: 'transfr' does not exist | Did you mean to write 'transfer'?
stateful(wallets, { entity: walletEntity, handlers: { deposit, transfer, transfr: transfer } })

// an event name is misspelt
const eventName = stateful(wallets, {
  entity: walletEntity,
  handlers: {
    transfer,
    deposit(wallet, _, { emit }) {
      // expect TS2551: Property 'moneyMovd' does not exist | Did you mean 'moneyMoved'?
      emit.moneyMovd({ from: null, to: '', amountCents: 1 })
      return wallet
    },
  },
})

// event data is wrong
const eventData = stateful(wallets, {
  entity: walletEntity,
  handlers: {
    transfer,
    deposit(wallet, _, { emit }) {
      // expect TS2322: Type 'number' is not assignable to type 'string'
      emit.moneyMoved({ from: null, to: 7, amountCents: 1 })
      return wallet
    },
  },
})

// the reply has the wrong type
// expect TS2741: Property 'balanceCents' is missing in type '{ balance: number; }'
stateful(wallets, { entity: walletEntity, handlers: { transfer, deposit: (wallet) => ({ balance: wallet.balanceCents }) } })

// the reply is forgotten
// expect TS2322: Type 'void' is not assignable to type '{ balanceCents: number; }'
stateful(wallets, { entity: walletEntity, handlers: { transfer, deposit(wallet) { wallet.balanceCents += 1 } } })

// an asynchronous handler
// expect TS2322: 'balanceCents' is missing in type 'Promise<{ balanceCents: number; }>'
stateful(wallets, { entity: walletEntity, handlers: { transfer, async deposit(wallet) { return { balanceCents: wallet.balanceCents } } } })

// an asynchronous handler of a command without a reply
const place = () => ({ orderId: '', status: 'pending' }) as const
// expect TS2322: Type 'Promise<void>' is not assignable to type 'undefined'
stateful(orders, { entity: entity(orders, { initial: () => ({ n: 0 }) }), handlers: { placeOrder: place, async cancelOrder() {} } })

// a rejection the contract does not name
// expect TS2339: Property 'noMoney' does not exist | insufficientFunds
stateful(wallets, { entity: walletEntity, handlers: { deposit, transfer: (_, input, { reject }) => reject.noMoney() } })

// the data of a rejection is forgotten
// expect TS2554: Expected 1 arguments, but got 0
stateful(wallets, { entity: walletEntity, handlers: { deposit, transfer: (_, input, { reject }) => reject.insufficientFunds() } })

// a rejection of a command without any
// expect TS2339: Property 'nope' does not exist on type 'Reject<{}>'
stateful(wallets, { entity: walletEntity, handlers: { transfer, deposit: (_, input, { reject }) => reject.nope() } })

// a state that is not JSON
// expect TS2345: Property ''state must be plain JSON'' is missing | at is a Date
entity(wallets, { initial: () => ({ at: new Date() }) })

export { eventData, eventName, z }
