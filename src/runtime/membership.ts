// This instance among the others: one lease row, renewed by whoever is still able to do its work.
import { isTwofoldError, type TwofoldError } from '../errors.ts'
import type { Cluster, Heirs, Instances, PartitionRow } from '../ports/instances.ts'
import type { CrashPoints } from './crash-points.ts'
import type { Logger } from './logger.ts'
import type { Service } from './service.ts'
import { Wake } from './wake.ts'

/** Of a lease, measured from before the renewal was sent; the rest is for clocks that run apart and statements that are on their way. */
const WRITE_SHARE = 0.8

export interface MembershipOptions {
  readonly instances: Instances
  readonly id: string
  readonly roles: readonly string[]
  /** Where other instances reach this one; asked at each join. */
  readonly address?: (() => string | undefined) | undefined
  readonly leaseMs: number
  /** What this instance carries commands by, see `Instances.join`. */
  readonly carrier?: string | undefined
  readonly log: Logger
  readonly crash?: CrashPoints | undefined
  /** False: the work itself is stuck; then the lease must run out, so that somebody else can take over. */
  readonly healthy?: () => boolean
  /** Called after every look at the cluster, one call at a time. Returns when to look again at the latest, in milliseconds. */
  readonly onLook?: (cluster: Cluster) => Promise<number | undefined>
  /** Another instance has handed these partitions over to this one. */
  readonly onHandedOver?: (rows: readonly PartitionRow[]) => void
  /** Who gets what this instance still has when it leaves. */
  readonly heirs?: (cluster: Cluster) => Heirs
  /** The lease ended: others may have taken over, and whatever was held is to be dropped before this instance joins again. */
  readonly onLost?: () => Promise<void>
}

/**
 * `joined`: the row is there and the lease runs; the process may write until 80 % of it have passed on its own monotonic clock,
 * measured from before the renewal was sent. `lost`: a renewal came too late or found no row; everything held is dropped, then it
 * joins again. `refused`: it was lost, and meanwhile somebody joined with another carrier; it takes nothing, and tries to join on. `away`: PostgreSQL
 * cannot be reached; the lease runs out by itself.
 */
export class Membership implements Service {
  readonly #options: MembershipOptions
  readonly #wake = new Wake()
  #writeUntil = 0
  #refusal: TwofoldError | undefined
  #cluster: Cluster = { instances: [], partitions: [] }
  #stopped = false
  #loop: Promise<void> | undefined
  #unlisten: (() => void)[] = []

  constructor(options: MembershipOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    await this.#join()
    try {
      await this.#look()
    } catch (error) {
      await this.#options.instances.leave(this.#options.id).catch(() => undefined)
      throw error
    }
    const { instances, id, onHandedOver } = this.#options
    // In this order: what was handed over is in hand when the look finds it.
    if (onHandedOver !== undefined) this.#unlisten.push(instances.onHandedOver(id, onHandedOver))
    this.#unlisten.push(instances.onChanged(() => this.#wake.ring()))
    this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    if (this.#stopped) return this.#loop
    this.#stopped = true
    for (const unlisten of this.#unlisten) unlisten()
    this.#wake.ring()
    if (this.#loop === undefined) return
    await this.#loop
    const { instances, id, heirs } = this.#options
    await instances.leave(id, heirs?.(this.#cluster)).catch((error: unknown) => {
      this.#options.log.warn({ reason: String(error) }, 'could not sign off; the lease runs out by itself')
    })
  }

  /** Whether this instance may still write what it holds, by its own clock. */
  mayWrite(): boolean {
    return performance.now() < this.#writeUntil
  }

  /** Why this instance is none of the app's any more; undefined while it is. */
  get refusal(): TwofoldError | undefined {
    return this.#refusal
  }

  /** Whether other instances live, as of the last look. */
  hasPeers(): boolean {
    return this.#cluster.instances.some((instance) => instance.alive && instance.id !== this.#options.id)
  }

  /** Looks at the cluster now instead of at the next renewal. */
  lookNow(): void {
    this.#wake.ring()
  }

  async #run(): Promise<void> {
    const { leaseMs, log, healthy } = this.#options
    let nextLookMs = leaseMs / 3
    let renewedAt = performance.now()
    while (!this.#stopped) {
      await this.#wake.sleep(Math.max(10, Math.min(leaseMs / 3, nextLookMs)))
      if (this.#stopped) return
      nextLookMs = leaseMs / 3
      try {
        if (performance.now() - renewedAt >= leaseMs / 4) {
          if (healthy?.() === false) log.error({}, 'the engine is stuck; its lease is not renewed')
          else if (await this.#renew()) renewedAt = performance.now()
        }
        nextLookMs = (await this.#look()) ?? nextLookMs
      } catch (error) {
        if (isTwofoldError(error, 'CARRIER_MISMATCH')) log.error({ reason: error.message }, 'this instance takes no commands any more')
        else log.warn({ reason: String(error) }, 'cannot reach PostgreSQL to renew the lease; trying again')
        nextLookMs = Math.min(500, leaseMs / 10)
      }
    }
  }

  async #renew(): Promise<boolean> {
    const { instances, id, leaseMs, log, onLost } = this.#options
    const sentAt = performance.now()
    if (await instances.renew(id, leaseMs)) {
      await this.#options.crash?.reach('lease.renewed')
      this.#writeUntil = sentAt + leaseMs * WRITE_SHARE
      return true
    }
    const silentMs = Math.round(sentAt - this.#writeUntil + leaseMs * WRITE_SHARE)
    log.warn({ silentMs, leaseMs }, 'the lease had ended before it was renewed; this instance drops what it held and joins again')
    this.#writeUntil = 0
    await onLost?.()
    await this.#join()
    return true
  }

  async #join(): Promise<void> {
    const { instances, id, roles, address, leaseMs, carrier } = this.#options
    const sentAt = performance.now()
    try {
      await instances.join({ id, roles, address: address?.(), leaseMs, carrier })
      this.#refusal = undefined
    } catch (error) {
      if (isTwofoldError(error, 'CARRIER_MISMATCH')) this.#refusal = error
      throw error
    }
    this.#writeUntil = sentAt + leaseMs * WRITE_SHARE
  }

  async #look(): Promise<number | undefined> {
    this.#cluster = await this.#options.instances.cluster()
    return this.#options.onLook?.(this.#cluster)
  }
}
