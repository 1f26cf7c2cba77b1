// Who should own which partition: a pure function of the live instances, so that all of them agree without talking.
import type { Heirs } from '../../ports/instances.ts'

/**
 * Rendezvous hashing with a cap: every partition goes to the instance that scores highest for it and has room left. The shares
 * differ by at most one, and when an instance joins or leaves, few partitions of the others move.
 */
export function assignPartitions(instanceIds: readonly string[], partitionCount: number): Map<string, number[]> {
  const ids = instanceIds.toSorted()
  const shares = new Map(ids.map((id) => [id, [] as number[]]))
  if (ids.length === 0) return shares
  const room = Math.ceil(partitionCount / ids.length)
  // With a plain ceiling the last instances could end up with far less; only `full` of them may take the larger share.
  let full = partitionCount % ids.length === 0 ? ids.length : partitionCount % ids.length
  for (let partition = 0; partition < partitionCount; partition += 1) {
    const ranked = ids.toSorted((a, b) => score(b, partition) - score(a, partition))
    const owner = ranked.find((id) => {
      const taken = shares.get(id)?.length ?? 0
      return taken < room - 1 || (taken === room - 1 && full > 0)
    })
    const share = shares.get(owner ?? ids[0] ?? '')
    share?.push(partition)
    if (share?.length === room) full -= 1
  }
  return shares
}

/** The same the other way round: the owner of every partition. Without instances nobody owns anything. */
export function heirsOf(instanceIds: readonly string[], partitionCount: number): Heirs {
  const shares = [...assignPartitions(instanceIds, partitionCount)]
  return new Map(shares.flatMap(([id, partitions]) => partitions.map((partition) => [partition, id] as const)))
}

function score(instanceId: string, partition: number): number {
  let hash = 0x811c9dc5 ^ partition
  for (let at = 0; at < instanceId.length; at += 1) hash = Math.imul(hash ^ instanceId.charCodeAt(at), 0x01000193)
  // FNV alone leaves the last bytes' influence in the low bits; the finalizer of MurmurHash3 spreads it.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
