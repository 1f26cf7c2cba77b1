// Wrong stateless sides, subscribers and callers.
import { createClient, reactor, stateless } from 'twofold'
import { orders } from '../../../examples/shop/orders/contract.ts'
import { orderEntity } from '../../../examples/shop/orders/order.ts'
import { wallets } from '../../../examples/shop/wallets/contract.ts'
import { walletEntity } from '../../../examples/shop/wallets/wallet.ts'

// a query has no handler
// expect TS2345: Property 'queries' is missing
stateless(wallets, {})

// an optimistic answer is not made
// expect TS2345: Property 'optimistic' is missing
stateless(orders, { queries: {} as never })

// a query answers the wrong thing
// expect TS2322: Type 'Promise<number>' is not assignable
stateless(wallets, { queries: { wallet: async ({ walletId }, { read }) => (await read(walletEntity, walletId))?.state.balanceCents ?? 0 } })

// a query reads the entity of another service
const otherEntity = stateless(wallets, {
  queries: {
    async wallet({ walletId }, { read }) {
      // expect TS2345: Type '"orders"' is not assignable to type '"wallets"'
      await read(orderEntity, walletId)
      return { balanceCents: 0 }
    },
  },
})

// an event that is none, and a field that is none
// expect TS2561: 'orderPlcd' does not exist | Did you mean to write 'orderPlaced'?
reactor('n', { from: { orders }, on: { orders: { orderPlcd() {} } } })
// expect TS2551: Property 'totalCnts' does not exist | Did you mean 'totalCents'?
reactor('n', { from: { orders }, on: { orders: { orderPlaced: ({ data }) => void data.totalCnts } } })

const client = createClient(wallets, { url: '' })

export async function calls(): Promise<void> {
  // a field is missing
  // expect TS2741: Property 'amountCents' is missing
  await client.transfer({ from: 'a', to: 'b' })

  // a command that is none
  // expect TS2551: Property 'depost' does not exist | Did you mean 'deposit'?
  await client.depost({})

  // a reply that may be a rejection
  const moved = await client.transfer({ from: 'a', to: 'b', amountCents: 1 })
  // expect TS2339: Property 'reply' does not exist on type 'Outcome<
  console.log(moved.reply)

  // a rejection code that is none
  // expect TS2367: '"sameWalet"' have no overlap
  if (moved.status === 'rejected' && moved.code === 'sameWalet') throw new Error()
}

export { otherEntity }
