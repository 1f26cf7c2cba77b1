// The state behind one order.
import { entity } from 'twofold'
import { orders } from './contract.ts'

export interface Line {
  sellerId: string
  productId: string
  quantity: number
  priceCents: number
}

export type Order = { status: 'none' } | { status: 'pending' | 'cancelled'; customerId: string; lines: Line[]; totalCents: number }

export const orderEntity = entity(orders, { initial: (): Order => ({ status: 'none' }) })

export function totalCents(lines: readonly Line[]): number {
  return lines.reduce((sum, line) => sum + line.quantity * line.priceCents, 0)
}
