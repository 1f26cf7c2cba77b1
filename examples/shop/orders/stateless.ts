// What is checked before an order is taken, what is answered at once, and what is answered about orders and sellers.
import { stateless } from 'twofold'
import { orders } from './contract.ts'
import { orderEntity, totalCents } from './order.ts'

const TOTAL_CENTS_MAX = 1_000_000_000

export const ordersStateless = stateless(orders, {
  checks: {
    placeOrder({ lines }, { invalid }) {
      if (totalCents(lines) > TOTAL_CENTS_MAX)
        invalid('/lines', `an order is at most ${TOTAL_CENTS_MAX} cents, this one is ${totalCents(lines)}`)
    },
  },
  optimistic: {
    placeOrder: ({ lines }, { key }) => ({ orderId: key, status: 'pending', totalCents: totalCents(lines) }),
  },
  queries: {
    async order({ orderId }, { read, notFound }) {
      const found = await read(orderEntity, orderId)
      if (!found || found.state.status === 'none') return notFound(`there is no order '${orderId}'`)
      return { orderId, version: found.version, ...found.state }
    },
    async sellerStats({ sellerId }, { db }) {
      const { rows } = await db.query<{ orders: number; items: number; revenueCents: string }>(
        'select orders, items, revenue_cents as "revenueCents" from seller_stats where seller_id = $1',
        [sellerId],
      )
      const { orders: placed = 0, items = 0, revenueCents = 0 } = rows[0] ?? {}
      return { sellerId, orders: placed, items, revenueCents: Number(revenueCents) }
    },
  },
})
