// What is printed at the end: a table, and the reconciliation.
import type { Difference } from './reconcile.ts'
import type { Sent } from './send-orders.ts'

/** Differing rows beyond this many are counted and not printed. */
const ROWS_MAX = 20

export function tableOf(sent: Sent): string {
  const rows: readonly (readonly [string, string | number])[] = [
    ['sent', sent.sent],
    ['accepted', sent.replayed > 0 ? `${sent.accepted} (${sent.replayed} known from an earlier replay)` : sent.accepted],
    ['succeeded', sent.succeeded],
    ['rejected', sent.alreadyPlaced > 0 ? `${sent.rejected} (${sent.alreadyPlaced} placed already)` : sent.rejected],
    ['dead', sent.dead],
    ['lost', sent.lost],
    ['duplicated', sent.duplicated],
    ['accept', sent.accept.toString()],
    ['effect', sent.effect.toString()],
    ['orders per second', (sent.sent / Math.max(sent.seconds, 0.001)).toFixed(0)],
  ]
  const refused = sent.refused.map((reason) => `  refused  ${reason}`)
  return [...rows.map(([name, value]) => `  ${name.padEnd(18)} ${value}`), ...refused].join('\n')
}

export function differencesOf(differences: readonly Difference[], sellers: number): string {
  if (differences.length === 0) return `reconciliation of ${sellers} sellers: 0 differences`
  const rows = differences
    .slice(0, ROWS_MAX)
    .map(({ sellerId, figure, expected, answered }) => `  seller ${sellerId}: ${figure} is ${String(answered)}, should be ${expected}`)
  const more = differences.length > ROWS_MAX ? [`  and ${differences.length - ROWS_MAX} more`] : []
  return [`reconciliation of ${sellers} sellers: ${differences.length} differences`, ...rows, ...more].join('\n')
}

/** Whether the replay shows a fault of the shop. */
export function isClean(sent: Sent, differences: readonly Difference[]): boolean {
  return sent.lost + sent.duplicated + sent.dead + sent.refused.length + differences.length === 0
}
