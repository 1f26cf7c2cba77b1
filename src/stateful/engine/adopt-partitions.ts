// What is to be known of a partition before it is served: its last event, its parked keys, and what a dead owner may have had in hand.
import type { EffectSession, ParkedCommand } from '../../ports/effect-store.ts'
import type { PartitionRow } from '../../ports/instances.ts'
import type { HeldPartitions } from './held-partitions.ts'
import type { Parking } from './parking.ts'
import { noteParked } from './take-parked.ts'

export interface KnownPartitions {
  readonly rows: readonly PartitionRow[]
  readonly lastEvents: ReadonlyMap<number, number>
  readonly heads: readonly ParkedCommand[]
  /** Rows up to this one may have been in the hands of an owner that died. */
  readonly lastRow: bigint | undefined
}

/** Reads it of partitions that are ours and not served yet: nobody else writes to them any more. */
export async function readPartitions(
  rows: readonly PartitionRow[],
  session: Pick<EffectSession, 'lastEvents' | 'parkedHeads' | 'lastRow'>,
): Promise<KnownPartitions> {
  const numbers = rows.map((row) => row.partition)
  const [lastEvents, heads, lastRow] = await Promise.all([
    session.lastEvents(numbers),
    session.parkedHeads(numbers),
    rows.some((row) => row.abandoned) ? session.lastRow() : undefined,
  ])
  return { rows, lastEvents, heads, lastRow }
}

/** From here on they are served. With their parked keys in the same moment: without them, newer commands of these keys would overtake. */
export function hold(
  { rows, lastEvents, heads, lastRow }: KnownPartitions,
  { held, parking, now }: { readonly held: HeldPartitions; readonly parking: Parking; readonly now: () => number },
): void {
  const abandoned = new Set(rows.filter((row) => row.abandoned === true).map((row) => row.partition))
  noteParked(heads, abandoned, parking, now)
  for (const { partition, epoch } of rows)
    held.take(partition, epoch, lastEvents.get(partition) ?? 0, abandoned.has(partition) ? lastRow : undefined)
}
