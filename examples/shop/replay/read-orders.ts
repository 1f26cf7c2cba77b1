// Orders from a file of order items, a line per item: order_id, order_item_id, product_id, seller_id, price, freight_value.
import { readFile } from 'node:fs/promises'
import { parse } from 'csv-parse/sync'
import type { Line } from '../orders/order.ts'

/** An order to send. */
export interface ReplayedOrder {
  readonly orderId: string
  readonly customerId: string
  readonly lines: readonly Line[]
}

const COLUMNS = ['order_id', 'product_id', 'seller_id', 'price'] as const

/**
 * Reads all orders in the order of the file; an item is a line of quantity 1.
 * @throws Error that names the file, the place and what is wrong with it.
 */
export async function readOrders(file: string): Promise<ReplayedOrder[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(error.code === 'ENOENT' ? `there is no file ${file}` : `${file} cannot be read: ${error.message}`, { cause: error })
  })
  const orders = groupOrders(itemsOf(text, file), file)
  if (orders.length === 0) throw new Error(`${file} has no orders in it`)
  return orders
}

function itemsOf(text: string, file: string): Record<string, string>[] {
  try {
    return parse(text, { columns: true, skip_empty_lines: true, bom: true, relax_column_count: true })
  } catch (error) {
    throw new Error(`${file} is no CSV file: ${(error as Error).message}`, { cause: error })
  }
}

/** Groups items by their order. */
export function groupOrders(items: readonly Readonly<Record<string, string>>[], file: string): ReplayedOrder[] {
  const lines = new Map<string, Line[]>()
  for (const [at, item] of items.entries()) {
    const missing = COLUMNS.filter((column) => (item[column] ?? '') === '')
    if (missing.length > 0)
      throw new Error(`${file}, item ${at + 1}: ${missing.join(', ')} missing; an order file has the columns ${COLUMNS.join(', ')}`)
    const priceCents = centsOf(item['price'] ?? '')
    if (priceCents === undefined) throw new Error(`${file}, item ${at + 1}: '${item['price']}' is not a price such as 12.99`)
    const orderId = item['order_id'] ?? ''
    const order = lines.get(orderId) ?? []
    order.push({ sellerId: item['seller_id'] ?? '', productId: item['product_id'] ?? '', quantity: 1, priceCents })
    lines.set(orderId, order)
  }
  // The file does not say who bought; a name made of the order is as good and the same at every replay. Half of a
  // surrogate pair would be no text.
  return [...lines].map(([orderId, order]) => ({ orderId, customerId: `customer-${orderId.slice(0, 8).toWellFormed()}`, lines: order }))
}

/** `58.9` → 5890, without going through a binary fraction. Undefined for anything that is not a price with at most two decimals. */
export function centsOf(price: string): number | undefined {
  const match = /^(\d{1,9})(?:\.(\d{1,2}))?$/.exec(price.trim())
  return match ? Number(match[1]) * 100 + Number((match[2] ?? '').padEnd(2, '0')) : undefined
}
