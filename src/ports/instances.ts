// Who is running, and who owns which partition. Leases are judged by the database's clock alone.

export interface InstanceRow {
  readonly id: string
  readonly roles: readonly string[]
  readonly address: string | undefined
  readonly alive: boolean
  /** Until its lease ends unless it is renewed, in milliseconds; negative once it has ended. */
  readonly leaseLeftMs: number
}

export interface JoiningInstance {
  readonly id: string
  readonly roles: readonly string[]
  readonly address?: string | undefined
  readonly leaseMs: number
  /** What commands are carried by; where it is left out, PostgreSQL's log. */
  readonly carrier?: string | undefined
}

export interface PartitionRow {
  readonly partition: number
  readonly owner: string | undefined
  readonly epoch: string
  /** Of a claim: the former owner had not given it back. What it had in hand may be what ended it. */
  readonly abandoned?: boolean
}

export interface Cluster {
  readonly instances: readonly InstanceRow[]
  readonly partitions: readonly PartitionRow[]
}

/** Who gets which partition; `undefined`: nobody, until somebody claims it. */
export type Heirs = ReadonlyMap<number, string | undefined>

/** Membership: one lease row per instance. */
export interface Instances {
  /** Registers this instance with a lease of `leaseMs`. @throws TwofoldError CARRIER_MISMATCH where one that lives carries commands by another carrier */
  join(instance: JoiningInstance): Promise<void>
  /** Renews the lease. False: the row is gone or the lease had ended, so somebody may have taken over: give everything up and join again. */
  renew(id: string, leaseMs: number): Promise<boolean>
  /** All live instances and all partitions. */
  cluster(): Promise<Cluster>
  /**
   * Takes those of these partitions that nobody with a live lease owns; each gets a new epoch. Connections on which a former owner may
   * still keep locks are ended.
   */
  claim(id: string, partitions: readonly number[]): Promise<readonly PartitionRow[]>
  /** Makes the heirs owners of these partitions, under new epochs, and tells them. An heir whose lease has ended gets nothing: nobody does. */
  handOver(id: string, heirs: Heirs): Promise<void>
  /** Removes the row, and hands everything over: to its heir, or to nobody. */
  leave(id: string, heirs?: Heirs): Promise<void>
  /** Calls `wake` when partitions may have changed hands: a hint. Returns how to stop listening. */
  onChanged(wake: () => void): () => void
  /** Calls `take` with what was handed over to this instance: a hint, too, the rows tell. Returns how to stop listening. */
  onHandedOver(id: string, take: (rows: readonly PartitionRow[]) => void): () => void
}
