// Orders made up from a seed: the same seed makes the same orders.
import type { ReplayedOrder } from './read-orders.ts'

export function sampleOrders(count: number, seed: number): ReplayedOrder[] {
  const random = generator(seed)
  const pick = (below: number): number => Math.floor(random() * below)
  return Array.from({ length: count }, (_, at) => ({
    orderId: `sample-${seed}-${at}`,
    customerId: `customer-${pick(count)}`,
    lines: Array.from({ length: 1 + pick(4) }, () => ({
      sellerId: `seller-${pick(Math.max(5, count / 10))}`,
      productId: `product-${pick(1000)}`,
      quantity: 1 + pick(3),
      priceCents: 100 + pick(20_000),
    })),
  }))
}

/** mulberry32: small, and good enough for making up orders. */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
