// Which instance owns which partition, as far as this process knows: read at every look at the cluster, mended by what owners answer.
import type { Cluster } from '../../ports/instances.ts'
import { pause } from '../../runtime/backoff.ts'

/** An owner that can be called. */
export interface Owner {
  readonly id: string
  readonly address: string
}

/** How long a caller waits for a fresh look before it goes on with what is known. */
const REFRESH_MS = 250

export class Directory {
  readonly #look: () => void
  readonly #updated = new Set<() => void>()
  #owners = new Map<number, string>()
  #instances = new Map<string, Owner>()

  /** `look` asks for a fresh look at the cluster, which comes by `update`. */
  constructor(look: () => void) {
    this.#look = look
  }

  update({ instances, partitions }: Cluster): void {
    this.#instances = new Map(
      instances.flatMap(({ id, address, alive }) => (alive && address !== undefined ? [[id, { id, address }] as const] : [])),
    )
    this.#owners = new Map(partitions.flatMap(({ partition, owner }) => (owner === undefined ? [] : [[partition, owner] as const])))
    for (const updated of this.#updated) updated()
  }

  /** The live owner of a partition, if one is known that has an address. */
  ownerOf(partition: number): Owner | undefined {
    const id = this.#owners.get(partition)
    return id === undefined ? undefined : this.#instances.get(id)
  }

  isAlive(instanceId: string): boolean {
    return this.#instances.has(instanceId)
  }

  /** What another instance says about an owner. False: it names one that is not known here. */
  learn(partition: number, instanceId: string): boolean {
    if (!this.#instances.has(instanceId)) return false
    this.#owners.set(partition, instanceId)
    return true
  }

  /** Looks anew. Resolves at the next update, or when that takes too long. */
  async refresh(): Promise<void> {
    const waiting = new AbortController()
    const stop = this.onUpdated(() => waiting.abort())
    this.#look()
    await pause(REFRESH_MS, waiting.signal)
    stop()
  }

  /** Calls `updated` after each look. Returns how to stop. */
  onUpdated(updated: () => void): () => void {
    this.#updated.add(updated)
    return () => void this.#updated.delete(updated)
  }
}
