// Compares what the shop says about every seller with the sums of the orders that were sent.
import { setTimeout as sleep } from 'node:timers/promises'
import { eachAtOnce } from './at-once.ts'
import type { Instances } from './instances.ts'
import type { ReplayedOrder } from './read-orders.ts'

export interface SellerSums {
  readonly orders: number
  readonly items: number
  readonly revenueCents: number
}

/** One figure that is not as it should be. */
export interface Difference {
  readonly sellerId: string
  readonly figure: keyof SellerSums
  readonly expected: number
  readonly answered: unknown
}

const FIGURES = ['orders', 'items', 'revenueCents'] as const

const AT_ONCE = 16
const ROUND_MS = 250
const SILENT_ROUNDS = 4

/** Sums by seller; an order counts once for each seller in it. */
export function sumsOf(orders: readonly ReplayedOrder[]): Map<string, SellerSums> {
  const sums = new Map<string, SellerSums>()
  for (const { lines } of orders) {
    for (const sellerId of new Set(lines.map((line) => line.sellerId))) {
      const own = lines.filter((line) => line.sellerId === sellerId)
      const before = sums.get(sellerId) ?? { orders: 0, items: 0, revenueCents: 0 }
      sums.set(sellerId, {
        orders: before.orders + 1,
        items: before.items + own.reduce((sum, line) => sum + line.quantity, 0),
        revenueCents: before.revenueCents + own.reduce((sum, line) => sum + line.quantity * line.priceCents, 0),
      })
    }
  }
  return sums
}

export interface ReconcileOptions {
  /** The read model follows the orders: sellers that differ are asked for again for this long. */
  readonly patienceMs: number
  /** Called once, when there is something to wait for. */
  readonly waiting?: (differences: number) => void
}

/** Asks for every seller, again for those that differ while there is patience left; returns what still differs. */
export async function reconcile(shop: Instances, orders: readonly ReplayedOrder[], options: ReconcileOptions): Promise<Difference[]> {
  const endsAt = performance.now() + options.patienceMs
  let sellers = [...sumsOf(orders)]
  for (let round = 1; ; round += 1) {
    const differences = await compareAll(shop, sellers)
    if (differences.length === 0 || performance.now() > endsAt) return differences
    // A short lag is ordinary and nothing to speak of.
    if (round === SILENT_ROUNDS) options.waiting?.(differences.length)
    const differing = new Set(differences.map((difference) => difference.sellerId))
    sellers = sellers.filter(([sellerId]) => differing.has(sellerId))
    await sleep(ROUND_MS)
  }
}

async function compareAll(shop: Instances, sellers: readonly (readonly [string, SellerSums])[]): Promise<Difference[]> {
  const differences: Difference[] = []
  await eachAtOnce(sellers, AT_ONCE, async ([sellerId, sums]) => {
    const { body } = await shop.request(`/sellers/${encodeURIComponent(sellerId)}/stats`)
    for (const figure of FIGURES) {
      if (body[figure] !== sums[figure]) differences.push({ sellerId, figure, expected: sums[figure], answered: body[figure] })
    }
  })
  return differences
}
