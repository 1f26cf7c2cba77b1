// What can be said to the orders.
import { command, defineContract, event, query, rejection } from 'twofold'
import { z } from 'zod'

const id = z.string().min(1).max(100)
const line = z.object({ sellerId: id, productId: id, quantity: z.int().positive(), priceCents: z.int().positive() })
const lines = z.array(line).min(1).max(100)
const status = z.enum(['pending', 'cancelled'])

export const orders = defineContract('orders', {
  commands: {
    placeOrder: command({
      route: 'POST /orders',
      input: z.object({ orderId: id.optional(), customerId: id, lines }),
      key: (order, { commandId }) => order.orderId ?? commandId, // a retry has the same command id, so it names the same order
      reply: z.object({ orderId: z.string(), status }),
      rejections: { alreadyPlaced: rejection() },
      optimistic: z.object({ orderId: z.string(), status: z.literal('pending'), totalCents: z.int() }),
      respond: 'accepted',
    }),
    cancelOrder: command({
      route: 'POST /orders/:orderId/cancel',
      input: z.object({ orderId: id }),
      key: (order) => order.orderId,
      rejections: {
        alreadyCancelled: rejection(),
        unknownOrder: rejection(z.object({ orderId: z.string() }), { status: 404 }),
      },
    }),
  },
  queries: {
    order: query({
      route: 'GET /orders/:orderId',
      input: z.object({ orderId: id }),
      output: z.object({ orderId: z.string(), version: z.int(), status, customerId: z.string(), lines, totalCents: z.int() }),
    }),
    sellerStats: query({
      route: 'GET /sellers/:sellerId/stats',
      input: z.object({ sellerId: id }),
      output: z.object({ sellerId: z.string(), orders: z.int(), items: z.int(), revenueCents: z.int() }),
    }),
  },
  events: {
    // The first version had no total: events of that time are lifted as they are read.
    orderPlaced: event(z.object({ orderId: z.string(), customerId: z.string(), lines })).next(
      z.object({ orderId: z.string(), customerId: z.string(), lines, totalCents: z.int() }),
      (old) => ({ ...old, totalCents: old.lines.reduce((sum, each) => sum + each.quantity * each.priceCents, 0) }),
    ),
    orderCancelled: event(z.object({ orderId: z.string(), lines })),
  },
})
