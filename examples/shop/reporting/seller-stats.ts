// What every seller has sold: a read model in SQL, made from the orders' events.
import { projection } from 'twofold'
import { orders } from '../orders/contract.ts'

export const sellerStats = projection('seller-stats', {
  from: { orders },
  tables: 'create table seller_stats (seller_id text primary key, orders int not null, items int not null, revenue_cents bigint not null)',
  async batch(events, transaction) {
    const changes = new Map<string, { orders: number; items: number; revenueCents: number }>()
    for (const event of events) {
      const sign = event.name === 'orderPlaced' ? 1 : -1
      for (const sellerId of new Set(event.data.lines.map((line) => line.sellerId))) {
        const change = changes.get(sellerId) ?? { orders: 0, items: 0, revenueCents: 0 }
        const lines = event.data.lines.filter((line) => line.sellerId === sellerId)
        change.orders += sign
        change.items += sign * lines.reduce((sum, line) => sum + line.quantity, 0)
        change.revenueCents += sign * lines.reduce((sum, line) => sum + line.quantity * line.priceCents, 0)
        changes.set(sellerId, change)
      }
    }
    const rows = [...changes].toSorted(([a], [b]) => (a < b ? -1 : 1))
    await transaction.query(
      `insert into seller_stats select * from unnest($1::text[], $2::int[], $3::int[], $4::bigint[])
       on conflict (seller_id) do update set orders = seller_stats.orders + excluded.orders,
         items = seller_stats.items + excluded.items, revenue_cents = seller_stats.revenue_cents + excluded.revenue_cents`,
      [
        rows.map(([id]) => id),
        rows.map(([, row]) => row.orders),
        rows.map(([, row]) => row.items),
        rows.map(([, row]) => row.revenueCents),
      ],
    )
  },
})
