// Membership and ownership in PostgreSQL. Every comparison with a lease uses clock_timestamp(): now() stands still in a transaction.
import { TwofoldError } from '../../errors.ts'
import type { Database } from '../../ports/database.ts'
import type { Cluster, Heirs, InstanceRow, Instances, JoiningInstance, PartitionRow } from '../../ports/instances.ts'
import type { Logger } from '../../runtime/logger.ts'
import { plainArray } from './array-literal.ts'
import { givenTo, HAND_OVER, LEAVE } from './hand-over.ts'
import { endLockHolders } from './lock-holders.ts'

/** What is needed of the signals: a hint that partitions changed hands, and which ones if it is known. */
export interface PartitionSignals {
  ring(channel: 'partition'): void
  listen(channel: 'partition', wake: (what: string) => void): () => void
}

const JOIN = `insert into twofold._instance (id, roles, address, lease_until, carrier)
  values ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond', $5)
  on conflict (id) do update set lease_until = excluded.lease_until, roles = excluded.roles, address = excluded.address, carrier = excluded.carrier`

// Whoever joins has seen all who joined before: two that come at once with different carriers would otherwise not see each other.
const JOIN_LOCK = 7_306_917_002
const LOCK_JOINS = 'select pg_advisory_xact_lock($1)'

const OTHER_CARRIER = `select id, roles, carrier, (extract(epoch from lease_until - clock_timestamp()))::float8 as "leaseLeftSeconds"
  from twofold._instance where id <> $1 and carrier <> $2 and lease_until > clock_timestamp() order by started_at limit 1`

interface OtherCarrier {
  readonly id: string
  readonly roles: readonly string[]
  readonly carrier: string
  readonly leaseLeftSeconds: number
}

// Rows of instances that died long ago are of no use to anybody.
const FORGET_DEAD = `delete from twofold._instance where lease_until < clock_timestamp() - interval '1 hour'`

const RENEW = `update twofold._instance set lease_until = clock_timestamp() + $2 * interval '1 millisecond'
  where id = $1 and lease_until > clock_timestamp() returning 1`

// Locked in order, so that two takers cannot lock each other out; waits for the statements that a live owner has under way. Abandoned is
// whatever nobody has given back, also if it was this very instance: it may have had it from one that died, and not have run what was left.
const CLAIM = `with free as (
    select p.partition, p.owner is not null as abandoned from twofold._partition p
      where p.partition = any($2::int[]) and (p.owner is null or p.owner = $1 or not exists (
        select 1 from twofold._instance i where i.id = p.owner and i.lease_until > clock_timestamp()))
      order by p.partition for update)
  update twofold._partition p set owner = $1, epoch = epoch + 1 from free
    where p.partition = free.partition and exists (select 1 from twofold._instance i where i.id = $1 and i.lease_until > clock_timestamp())
    returning p.partition, p.owner, p.epoch, free.abandoned`

const CLUSTER = `select id, roles, address, (extract(epoch from lease_until - clock_timestamp()) * 1000)::float8 as "leaseLeftMs"
  from twofold._instance`

export class PostgresInstances implements Instances {
  readonly #database: Database
  readonly #signals: PartitionSignals
  readonly #log: Logger

  constructor(database: Database, signals: PartitionSignals, log: Logger) {
    this.#database = database
    this.#signals = signals
    this.#log = log
  }

  async join({ id, roles, address, leaseMs, carrier = 'postgres' }: JoiningInstance): Promise<void> {
    await this.#database.transaction(async (tx) => {
      await tx.query(LOCK_JOINS, [JOIN_LOCK])
      const [other] = (await tx.query<OtherCarrier>(OTHER_CARRIER, [id, carrier])).rows
      if (other !== undefined) throw mismatch(carrier, other)
      await tx.query(JOIN, [id, roles, address ?? null, leaseMs, carrier])
    })
    await this.#database.query(FORGET_DEAD)
    this.#signals.ring('partition')
  }

  async renew(id: string, leaseMs: number): Promise<boolean> {
    return (await this.#database.query(RENEW, [id, leaseMs])).rows.length === 1
  }

  async cluster(): Promise<Cluster> {
    const instances = await this.#database.query<{ id: string; roles: string[]; address: string | null; leaseLeftMs: number }>(CLUSTER)
    const partitions = await this.#database.query<{ partition: number; owner: string | null; epoch: string }>(
      'select partition, owner, epoch from twofold.partition order by partition',
    )
    return {
      instances: instances.rows.map((row): InstanceRow => ({ ...row, address: row.address ?? undefined, alive: row.leaseLeftMs > 0 })),
      partitions: partitions.rows.map(partitionRow),
    }
  }

  async claim(id: string, partitions: readonly number[]): Promise<readonly PartitionRow[]> {
    await endLockHolders(this.#database, this.#log, id, partitions)
    const { rows } = await this.#database.query<{ partition: number; owner: string; epoch: string; abandoned: boolean }>(CLAIM, [
      id,
      partitions,
    ])
    return rows.map((row) => ({ ...partitionRow(row), abandoned: row.abandoned }))
  }

  async handOver(id: string, heirs: Heirs): Promise<void> {
    await this.#database.query(HAND_OVER, [id, ...heirArrays(heirs)])
  }

  async leave(id: string, heirs: Heirs = new Map()): Promise<void> {
    await this.#database.query(LEAVE, [id, ...heirArrays(heirs)])
    this.#signals.ring('partition')
  }

  onChanged(wake: () => void): () => void {
    return this.#signals.listen('partition', wake)
  }

  onHandedOver(id: string, take: (rows: readonly PartitionRow[]) => void): () => void {
    return this.#signals.listen('partition', (what) => {
      const rows = givenTo(id, what)
      if (rows.length > 0) take(rows)
    })
  }
}

function mismatch(carrier: string, other: OtherCarrier): TwofoldError {
  const seconds = Math.max(1, Math.ceil(other.leaseLeftSeconds))
  const message =
    `this instance carries commands by '${carrier}', and instance ${other.id} (${other.roles.join(', ')}) of the same app by '${other.carrier}': ` +
    `by two ways they would lose their order; set TWOFOLD_CARRIER (or the option 'carrier') alike, or stop all instances before the carrier is changed ` +
    `(one that was killed counts for ${seconds} s more)`
  return new TwofoldError('CARRIER_MISMATCH', message)
}

function heirArrays(heirs: Heirs): [string, (string | null)[]] {
  return [plainArray([...heirs.keys()]), [...heirs.values()].map((heir) => heir ?? null)]
}

function partitionRow(row: { partition: number; owner: string | null; epoch: string | number }): PartitionRow {
  return { partition: row.partition, owner: row.owner ?? undefined, epoch: String(row.epoch) }
}
