import { expect, test } from 'vitest'
import { given } from 'twofold/testing'
import { ordersStateful } from './stateful.ts'
import type { Order } from './order.ts'

const lines = [{ sellerId: 's', productId: 'p', quantity: 2, priceCents: 150 }]
const placed: Order = { status: 'pending', customerId: 'c', lines, totalCents: 300 }

test('an order is placed under the id it was given, or under the id of its command', () => {
  const named = given(ordersStateful).when.placeOrder({ orderId: 'o', customerId: 'c', lines })
  expect(named.states).toEqual({ o: placed })
  expect(named.events).toEqual([{ name: 'orderPlaced', data: { orderId: 'o', customerId: 'c', lines, totalCents: 300 } }])
  const unnamed = given(ordersStateful).when.placeOrder({ customerId: 'c', lines }, { commandId: 'command-7' })
  expect(unnamed.outcome).toMatchObject({ reply: { orderId: 'command-7', status: 'pending' } })
})

test('an order is placed once', () => {
  const { outcome, events } = given(ordersStateful, { o: placed }).when.placeOrder({ orderId: 'o', customerId: 'd', lines })
  expect([outcome, events]).toEqual([{ status: 'rejected', code: 'alreadyPlaced', data: undefined, commandId: 'command-1' }, []])
})

test('an order is cancelled once, and only if there is one', () => {
  const cancelled = given(ordersStateful, { o: placed }).when.cancelOrder({ orderId: 'o' })
  expect(cancelled.states).toEqual({ o: { ...placed, status: 'cancelled' } })
  expect(given(ordersStateful, cancelled.states).when.cancelOrder({ orderId: 'o' }).outcome).toMatchObject({ code: 'alreadyCancelled' })
  expect(given(ordersStateful).when.cancelOrder({ orderId: 'x' }).outcome).toMatchObject({ code: 'unknownOrder', data: { orderId: 'x' } })
})
