// What is printed at the end: a table, and the reconciliation.
import type { Difference } from './reconcile.ts'
import type { Sent } from './send-orders.ts'

/** Rows beyond this many are counted and not printed. */
const ROWS_MAX = 20

export function tableOf(sent: Sent): string {
  const rows: readonly (readonly [string, string | number])[] = [
    ['sent', sent.sent],
    ['accepted', sent.replayed > 0 ? `${sent.accepted} (${sent.replayed} known already)` : sent.accepted],
    ['succeeded', sent.succeeded],
    ['rejected', sent.alreadyPlaced > 0 ? `${sent.rejected} (${sent.alreadyPlaced} placed already)` : sent.rejected],
    ['dead', sent.dead],
    ['lost', sent.lost],
    ['duplicated', sent.duplicated],
    ['accept', sent.accept.toString()],
    ['effect', sent.effect.toString()],
    ['orders per second', (sent.sent / Math.max(sent.seconds, 0.001)).toFixed(0)],
    ...(sent.refused.length > 0 ? [['refused', sent.refused.length] as const] : []),
  ]
  return [...rows.map(([name, value]) => `  ${name.padEnd(18)} ${value}`), ...firstOf(sent.refused, (reason) => `    ${reason}`)].join('\n')
}

export function differencesOf(differences: readonly Difference[], sellers: number): string {
  const title = `reconciliation of ${sellers} sellers: ${differences.length} differences`
  const row = ({ sellerId, figure, expected, answered }: Difference): string =>
    `  seller ${sellerId}: ${figure} is ${String(answered)}, should be ${expected}`
  return [title, ...firstOf(differences, row)].join('\n')
}

function firstOf<Item>(items: readonly Item[], row: (item: Item) => string): string[] {
  const more = items.length - ROWS_MAX
  return [...items.slice(0, ROWS_MAX).map(row), ...(more > 0 ? [`  and ${more} more`] : [])]
}

/** Whether the replay shows a fault of the shop. */
export function isClean(sent: Sent, differences: readonly Difference[]): boolean {
  return sent.lost + sent.duplicated + sent.dead + sent.refused.length + differences.length === 0
}
