// How orders change.
import { stateful } from 'twofold'
import { orders } from './contract.ts'
import { orderEntity, totalCents } from './order.ts'

export const ordersStateful = stateful(orders, {
  entity: orderEntity,
  handlers: {
    placeOrder(order, { customerId, lines }, { key: orderId, replace, emit, reject }) {
      if (order.status !== 'none') return reject.alreadyPlaced()
      const placed = { status: 'pending' as const, customerId, lines, totalCents: totalCents(lines) }
      replace(order, placed)
      emit.orderPlaced({ orderId, customerId, lines, totalCents: placed.totalCents })
      return { orderId, status: 'pending' }
    },
    cancelOrder(order, { orderId }, { emit, reject }) {
      if (order.status === 'none') return reject.unknownOrder({ orderId })
      if (order.status === 'cancelled') return reject.alreadyCancelled()
      order.status = 'cancelled'
      emit.orderCancelled({ orderId, lines: order.lines })
    },
  },
})
