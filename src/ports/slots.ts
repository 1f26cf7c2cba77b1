// Slots to partitions: fixed when the database is made, read once at start.
import { slotOf } from '../contract/key.ts'

/** `partitionOf[slot]` for all 4096 slots. */
export interface SlotMap {
  readonly partitionCount: number
  readonly partitionOf: readonly number[]
}

/** The partition that owns a key. */
export function partitionOf(map: SlotMap, service: string, key: string): number {
  return map.partitionOf[slotOf(service, key)] ?? 0
}
