// Which partitions this instance serves. Every instance computes the same target; each gives up what it should not hold and takes
// what is free, so nobody has to be in charge.
import type { Cluster, InstanceRow, Instances, PartitionRow } from '../../ports/instances.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Logger } from '../../runtime/logger.ts'
import { assignPartitions } from './assign.ts'

/** A newcomer must stay this long before partitions are moved to it: a restart loop must not drag them to and fro. */
export const HYSTERESIS_MS = 2000

export interface OwnershipOptions {
  readonly instances: Instances
  readonly id: string
  readonly log: Logger
  readonly crash?: CrashPoints | undefined
  readonly adopt: (rows: readonly PartitionRow[]) => Promise<void>
  readonly drop: (partitions: readonly number[]) => Promise<void>
}

/**
 * A partition is, seen from here, `foreign` (somebody else's, or nobody's and not meant for us), `claimed` (the row is ours, the
 * engine is loading it), `held` (the engine serves it) or `leaving` (the engine finishes its batch, then the row is released).
 */
export class Ownership {
  readonly #options: OwnershipOptions
  readonly #held = new Set<number>()
  /** Lost to others and not told of yet. */
  readonly #lost = new Set<number>()
  #members = ''
  #membersSince = -Infinity

  constructor(options: OwnershipOptions) {
    this.#options = options
  }

  /** Moves towards the target. Returns when to look again: when a move that has to wait may be made, or a lease of another owner ends. */
  async balance(cluster: Cluster): Promise<number | undefined> {
    const { id, instances, crash } = this.#options
    const owners = cluster.instances
      .filter((instance) => instance.alive && instance.roles.includes('stateful'))
      .map((instance) => instance.id)
    const target = new Set(assignPartitions(owners, cluster.partitions.length).get(id))
    const waitMs = this.#settling(owners)
    // The rows tell what is ours, not what this instance remembers: a release that failed half-way left rows that nobody serves.
    const ours = new Set(cluster.partitions.filter((row) => row.owner === id).map((row) => row.partition))
    const gone = [...this.#held].filter((partition) => !ours.has(partition))
    for (const partition of gone) this.#lost.add(partition)
    if (gone.length > 0) await this.#drop(gone)
    this.#tellLost(cluster)
    const surplus = [...ours].filter((partition) => !target.has(partition))
    if (surplus.length > 0 && waitMs === 0) await this.#release(surplus)
    const alive = new Set(cluster.instances.filter((instance) => instance.alive).map((instance) => instance.id))
    const free = cluster.partitions.filter((row) => row.owner === undefined || row.owner === id || !alive.has(row.owner))
    const wanted = free.map((row) => row.partition).filter((partition) => target.has(partition) && !this.#held.has(partition))
    if (wanted.length > 0) {
      const rows = await instances.claim(id, wanted)
      for (const row of rows) this.#held.add(row.partition)
      if (rows.length > 0) {
        await this.#adopt(rows)
        await crash?.reach('handover.adopted')
        this.#options.log.debug({ partitions: rows.length, held: this.#held.size }, 'took partitions')
      }
    }
    const looks = cluster.instances.filter((other) => other.alive && other.id !== id && owners.includes(other.id)).map(endOfLease)
    if (surplus.length > 0 && waitMs > 0) looks.push(waitMs)
    return looks.length > 0 ? Math.min(...looks) : undefined
  }

  /** The engine found out that these are not ours any more. */
  fenced(partitions: readonly number[]): void {
    for (const partition of partitions) {
      this.#held.delete(partition)
      this.#lost.add(partition)
    }
  }

  /** The lease ended: everything may be somebody else's. */
  async lost(): Promise<void> {
    const all = [...this.#held]
    this.#held.clear()
    for (const partition of all) this.#lost.add(partition)
    await this.#options.drop(all)
  }

  /** Who comes back from a long silence says what it has stopped to do, and who does it now. */
  #tellLost(cluster: Cluster): void {
    if (this.#lost.size === 0) return
    const partitions = [...this.#lost].toSorted((a, b) => a - b)
    this.#lost.clear()
    const ownerOf = (partition: number): string => cluster.partitions.find((row) => row.partition === partition)?.owner ?? 'nobody'
    const owners = Object.fromEntries(Map.groupBy(partitions, ownerOf))
    this.#options.log.warn(
      { partitions, owners },
      'lost partitions: this instance has stopped writing to them and stored nothing of what it had in hand; their commands are run by their owners',
    )
  }

  async #adopt(rows: readonly PartitionRow[]): Promise<void> {
    const { adopt, drop, crash } = this.#options
    try {
      await crash?.reach('handover.claimed')
      await adopt(rows)
    } catch (error) {
      for (const row of rows) this.#held.delete(row.partition)
      await drop(rows.map((row) => row.partition))
      throw error
    }
  }

  async #drop(partitions: readonly number[]): Promise<void> {
    await this.#options.drop(partitions)
    for (const partition of partitions) this.#held.delete(partition)
  }

  async #release(partitions: readonly number[]): Promise<void> {
    const { crash, id, instances } = this.#options
    await this.#drop(partitions)
    await crash?.reach('handover.dropped')
    await instances.release(id, partitions)
    await crash?.reach('handover.released')
    this.#options.log.debug({ partitions: partitions.length, held: this.#held.size }, 'handed partitions over')
  }

  /** How long moves still have to wait since the set of owners changed, in milliseconds. */
  #settling(owners: readonly string[]): number {
    const members = owners.toSorted().join()
    const first = this.#members === ''
    if (members !== this.#members) {
      this.#members = members
      this.#membersSince = first ? -Infinity : performance.now()
    }
    return Math.max(0, this.#membersSince + HYSTERESIS_MS - performance.now())
  }
}

/** When to see whether another owner is still there: a moment after its lease, and never only at the next turn. */
function endOfLease({ leaseLeftMs }: InstanceRow): number {
  return leaseLeftMs + 10
}
