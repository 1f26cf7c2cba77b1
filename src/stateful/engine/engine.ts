// The engine of one instance: its lane, the partitions it holds, and the door for direct commands.
import { TwofoldError } from '../../errors.ts'
import type { Envelope } from '../../contract/envelope.ts'
import { carriedMessage, type OpenCarrier } from '../../ports/carrier.ts'
import type { CallContext, DirectCarrier, DirectResult } from '../../ports/direct-carrier.ts'
import type { EffectStore } from '../../ports/effect-store.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import type { PartitionRow } from '../../ports/instances.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Service } from '../../runtime/service.ts'
import type { AnyStateful } from '../stateful.ts'
import { SqlExecutor } from '../sql/executor.ts'
import type { SqlStore } from '../../ports/sql-store.ts'
import type { AnyStatefulSql } from '../stateful-sql.ts'
import { CarriedWorks } from './carried-works.ts'
import { ClaimsInHand } from './claims-in-hand.ts'
import { Lane, type LaneOptions } from './lane.ts'
import { Relay } from './relay.ts'
import { CommandRunner } from './run-command.ts'
import { Watchdog } from './watchdog.ts'
import type { Work } from './work.ts'

/** The SQL sides, and what their commands run with. */
export interface SqlOptions {
  readonly sides: readonly AnyStatefulSql[]
  readonly store: SqlStore
  /** How long one run of an SQL handler may take, in milliseconds. */
  readonly handlerMs: number
  /** So many handlers run at a time, each on a connection. Default 16. */
  readonly connectionsMax?: number | undefined
}

export interface EngineOptions {
  readonly sides: readonly AnyStateful[]
  readonly sql?: SqlOptions | undefined
  readonly store: EffectStore
  readonly slots: SlotMap
  readonly log: Logger
  readonly crash?: CrashPoints | undefined
  /** The database's time, in milliseconds since 1970. */
  readonly now: () => number
  readonly mayWrite: () => boolean
  readonly fenced: (partitions: readonly number[]) => void
  /** Calls `wake` when commands were appended to the log: a hint. */
  readonly onAppended: (wake: () => void) => () => void
  /** How long one run of an entity handler may take, or an SQL handler hold the thread, in milliseconds, before the process is ended; `false`: for ever. */
  readonly handlerMs: number | false
  /** How old a service's command of the log may be that is run, in milliseconds; an older one becomes a dead letter. Default: however old. */
  readonly carriedMsMax?: ((service: string) => number) | undefined
  /** About how many commands form a batch at most. Default 2,000: beyond it latency grows and throughput does not. */
  readonly batchSizeMax?: number | undefined
  /** The broker that carries the commands; left out: the log does. */
  readonly carrier?: OpenCarrier | undefined
  /**
   * Behind a batch of so many commands the next is taken and planned while PostgreSQL stores it. Default 100: behind a smaller one that would
   * gain less than it costs, because the next batch would close before the commands that arrive meanwhile could join it.
   */
  readonly overlapMin?: number | undefined
  /** How many direct commands may wait for the next batch; beyond it they are sent to the log. Default 10,000. */
  readonly mailboxSizeMax?: number | undefined
}

export class Engine implements Service, DirectCarrier {
  readonly #options: EngineOptions
  readonly #lane: Lane
  readonly #claims = new ClaimsInHand()
  readonly #watchdog: Watchdog | undefined
  #unlisten: (() => void) | undefined

  constructor(options: EngineOptions) {
    this.#options = options
    this.#watchdog = options.handlerMs === false ? undefined : new Watchdog(options.handlerMs)
    this.#lane = new Lane({
      ...options,
      runners: new Map(options.sides.map((side) => [side.contract.name, new CommandRunner(side, this.#watchdog)])),
      entities: new Map(options.sides.map((side) => [side.contract.name, side.entity])),
      batchSizeMax: options.batchSizeMax ?? 2000,
      overlapMin: options.overlapMin ?? 100,
      mailboxSizeMax: options.mailboxSizeMax ?? MAILBOX_SIZE_MAX,
      sql: executorOf(options, this.#watchdog),
      carried: carriedOf(options),
    })
  }

  async start(): Promise<void> {
    await this.#watchdog?.start()
    await this.#lane.start()
    this.#unlisten = this.#options.onAppended(() => this.#lane.appended())
  }

  async stop(): Promise<void> {
    this.#unlisten?.()
    await this.#lane.stop()
    await this.#watchdog?.stop()
  }

  adopt(rows: readonly PartitionRow[]): Promise<void> {
    return this.#lane.adopt(rows)
  }

  drop(partitions: readonly number[]): Promise<void> {
    return this.#lane.drop(partitions)
  }

  inHand(commandId: string): boolean {
    return this.#lane.inHand(commandId)
  }

  /** For how long nothing has come to an end, in milliseconds; 0 when idle. */
  busyMs(): number {
    return this.#lane.busyMs()
  }

  reaches(envelope: Envelope): boolean {
    return this.#lane.holds(this.#partition(envelope))
  }

  call(envelope: Envelope, signal?: AbortSignal, { waitMs }: CallContext = {}): Promise<DirectResult> {
    if (signal?.aborted === true) return Promise.resolve({ status: 'deferred' })
    const first = this.#claims.begin(envelope)
    if (first !== undefined) return Promise.resolve({ status: 'claimed', claim: first })
    const deadline = waitMs === undefined ? undefined : this.#options.now() + waitMs
    if (signal !== undefined) return this.#callWhile(envelope, signal, deadline)
    return new Promise((resolve) => this.#deliver(envelope, deadline, resolve))
  }

  #deliver(envelope: Envelope, deadline: number | undefined, settle: (result: DirectResult) => void): Work {
    const ended = (result: DirectResult): void => {
      this.#claims.end(envelope)
      settle(result)
    }
    const work: Work = { envelope, partition: this.#partition(envelope), origin: { from: 'direct', deadline, settle: ended } }
    if (!this.#lane.deliver(work)) ended({ status: 'deferred' })
    return work
  }

  #callWhile(envelope: Envelope, signal: AbortSignal, deadline: number | undefined): Promise<DirectResult> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        if (this.#lane.withdraw(work)) return
        const reason = signal.reason instanceof Error ? signal.reason : undefined
        reject(
          reason ?? new TwofoldError('OUTCOME_TIMEOUT', `nobody waits for command ${envelope.id} any more`, { commandId: envelope.id }),
        )
      }
      signal.addEventListener('abort', abort, { once: true })
      const work = this.#deliver(envelope, deadline, (result) => {
        signal.removeEventListener('abort', abort)
        resolve(result)
      })
    })
  }

  #partition(envelope: Envelope): number {
    return partitionOf(this.#options.slots, envelope.service, envelope.keys[0] ?? '')
  }
}

function executorOf({ sql, log, now, mayWrite, carriedMsMax }: EngineOptions, watch: Watchdog | undefined): LaneOptions['sql'] {
  if (sql === undefined || sql.sides.length === 0) return undefined
  const options = { ...sql, connectionsMax: sql.connectionsMax ?? SQL_CONNECTIONS_MAX, log, now, mayWrite, carriedMsMax, watch }
  return (shared) => new SqlExecutor(options, shared)
}

function carriedOf({ carrier, slots, log, crash, mailboxSizeMax = MAILBOX_SIZE_MAX }: EngineOptions): LaneOptions['carried'] {
  if (carrier === undefined) return undefined
  // All partitions together may have as much in hand as direct commands may wait.
  const inHandMax = Math.min(IN_HAND_MAX, Math.max(IN_HAND_MIN, Math.floor(mailboxSizeMax / slots.partitionCount)))
  const publish: ConstructorParameters<typeof Relay>[0]['publish'] = (envelope, partition) =>
    carrier.publish(carriedMessage(envelope, partition))
  return (ring) => ({
    works: new CarriedWorks({ carrier, slots, inHandMax, log, crash, ring }),
    relay: new Relay({ publish, log, crash, ring }),
  })
}

const MAILBOX_SIZE_MAX = 10_000

/** Delivered commands of one partition that are in hand at a time. */
const IN_HAND_MIN = 16
const IN_HAND_MAX = 1000

/** Connections of the SQL handlers of one process, where nothing else is said. */
export const SQL_CONNECTIONS_MAX = 16
