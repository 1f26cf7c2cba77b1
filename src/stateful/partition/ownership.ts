// Which partitions this instance serves. Every instance computes the same target; each hands over what it should not hold and takes
// what is free, so nobody has to be in charge.
import type { Cluster, Heirs, InstanceRow, Instances, PartitionRow } from '../../ports/instances.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Logger } from '../../runtime/logger.ts'
import { heirsOf } from './assign.ts'

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
 * A partition is, seen from here, `foreign` (somebody else's, or nobody's and not meant for us), `ours` (claimed or handed over; the
 * engine is loading it), `held` (the engine serves it) or `leaving` (the engine finishes its batch, then the row is the next owner's).
 */
export class Ownership {
  readonly #options: OwnershipOptions
  /** What is ours or held, and under which epoch. */
  readonly #held = new Map<number, bigint>()
  /** Lost to others and not told of yet. */
  readonly #lost = new Set<number>()
  /** What was handed over and is being loaded. */
  #taking = Promise.resolve()
  #members = ''
  #membersSince = -Infinity

  constructor(options: OwnershipOptions) {
    this.#options = options
  }

  /** Moves towards the target. Returns when to look again: when a move that has to wait may be made, or a lease of another owner ends. */
  async balance(cluster: Cluster): Promise<number | undefined> {
    await this.#taking
    const { id, instances } = this.#options
    const owners = ownersOf(cluster)
    const heirs = heirsOf(owners, cluster.partitions.length)
    const isTarget = (partition: number): boolean => heirs.get(partition) === id
    const waitMs = this.#settling(owners)
    // The rows tell what is ours, not what this instance remembers: a hand-over that failed half-way left rows that nobody serves.
    const gone = cluster.partitions.filter((row) => row.owner !== id && this.#isHeldBefore(row)).map((row) => row.partition)
    for (const partition of gone) this.#lost.add(partition)
    if (gone.length > 0) await this.#drop(gone)
    this.#tellLost(cluster)
    const surplus = cluster.partitions.filter((row) => row.owner === id && !isTarget(row.partition)).map((row) => row.partition)
    if (surplus.length > 0 && waitMs === 0) await this.#handOver(surplus, heirs)
    const alive = new Set(cluster.instances.filter((instance) => instance.alive).map((instance) => instance.id))
    const free = cluster.partitions.filter((row) => row.owner === undefined || row.owner === id || !alive.has(row.owner))
    const wanted = free.map((row) => row.partition).filter((partition) => isTarget(partition) && !this.#held.has(partition))
    if (wanted.length > 0) await this.#take(await instances.claim(id, wanted))
    const looks = cluster.instances.filter((other) => other.alive && other.id !== id && owners.includes(other.id)).map(endOfLease)
    if (surplus.length > 0 && waitMs > 0) looks.push(waitMs)
    return looks.length > 0 ? Math.min(...looks) : undefined
  }

  /** Another owner has made these ours. Should they not be served after all, they are claimed at the next look, like any that nobody serves. */
  handedOver(rows: readonly PartitionRow[]): void {
    const fresh = rows.filter((row) => !this.#held.has(row.partition))
    const take = this.#take(fresh).catch((error: unknown) => {
      this.#options.log.warn({ reason: String(error), partitions: numbersOf(fresh) }, 'cannot serve what was handed over; trying again')
    })
    this.#taking = Promise.all([this.#taking, take]).then(() => undefined)
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
    await this.#taking
    const all = [...this.#held.keys()]
    for (const partition of all) this.#lost.add(partition)
    await this.#drop(all)
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

  /** Whether this was held when the row was read. What was handed over since does not show in it yet. */
  #isHeldBefore({ partition, epoch }: PartitionRow): boolean {
    const since = this.#held.get(partition)
    return since !== undefined && since <= BigInt(epoch)
  }

  async #take(rows: readonly PartitionRow[]): Promise<void> {
    if (rows.length === 0) return
    const { adopt, crash, log } = this.#options
    const partitions = numbersOf(rows)
    for (const row of rows) this.#held.set(row.partition, BigInt(row.epoch))
    try {
      await crash?.reach('handover.claimed')
      await adopt(rows)
    } catch (error) {
      await this.#drop(partitions)
      throw error
    }
    log.debug({ partitions }, 'serving partitions')
    await crash?.reach('handover.adopted')
  }

  /**
   * They stay held until the engine has let go of them. What is handed over meanwhile is then passed over and claimed at the next look; if it
   * were taken at once, the engine would let go of it last, and nobody would serve what seems to be held here.
   */
  async #drop(partitions: readonly number[]): Promise<void> {
    try {
      await this.#options.drop(partitions)
    } finally {
      for (const partition of partitions) this.#held.delete(partition)
    }
  }

  async #handOver(partitions: readonly number[], heirs: Heirs): Promise<void> {
    const { crash, id, instances, log } = this.#options
    await this.#drop(partitions)
    log.debug({ partitions }, 'stopped serving partitions')
    await crash?.reach('handover.dropped')
    await instances.handOver(id, new Map(partitions.map((partition) => [partition, heirs.get(partition)])))
    await crash?.reach('handover.released')
    log.debug({ partitions }, 'handed partitions over')
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

function ownersOf(cluster: Cluster): string[] {
  return cluster.instances.filter(({ alive, roles }) => alive && roles.includes('stateful')).map(({ id }) => id)
}

/** Who is to have what once this instance has left. */
export function heirsWithout(id: string, cluster: Cluster): Heirs {
  return heirsOf(
    ownersOf(cluster).filter((owner) => owner !== id),
    cluster.partitions.length,
  )
}

function numbersOf(rows: readonly PartitionRow[]): number[] {
  return rows.map((row) => row.partition)
}

/** When to see whether another owner is still there: a moment after its lease, and never only at the next turn. */
function endOfLease({ leaseLeftMs }: InstanceRow): number {
  return leaseLeftMs + 10
}
