// Everything of one process that is not HTTP: connections, membership, engine, subscribers, in the order in which they start.
import { randomUUID } from 'node:crypto'
import { readSecret } from '../adapters/postgres/app-secret.ts'
import { PostgresBacklog } from '../adapters/postgres/backlog.ts'
import { PostgresCommandIds } from '../adapters/postgres/command-ids.ts'
import { PostgresCommandLog } from '../adapters/postgres/command-log.ts'
import { PostgresDatabase } from '../adapters/postgres/database.ts'
import { PostgresEffectStore } from '../adapters/postgres/effect-store.ts'
import { PostgresEntities } from '../adapters/postgres/entities.ts'
import { PostgresEventLog } from '../adapters/postgres/event-log.ts'
import { FreeSpace } from '../adapters/postgres/free-space.ts'
import { Housekeeping } from '../adapters/postgres/housekeeping.ts'
import { PostgresInstances } from '../adapters/postgres/instances.ts'
import { migrate } from '../adapters/postgres/migrate.ts'
import { HOUR_MS, RETENTION_HOURS_MIN } from '../adapters/postgres/outcome-tables.ts'
import { PostgresOutcomes } from '../adapters/postgres/outcomes.ts'
import { PostgresProjectionProgress } from '../adapters/postgres/projection-progress.ts'
import { Signals } from '../adapters/postgres/signals.ts'
import { PostgresSqlStore } from '../adapters/postgres/sql-store.ts'
import type { TwofoldError } from '../errors.ts'
import { CrashPoints } from '../runtime/crash-points.ts'
import type { CarrierContext, OpenCarrier } from '../ports/carrier.ts'
import type { Cluster } from '../ports/instances.ts'
import { madeAt } from '../ports/command-ids.ts'
import type { Admission } from '../ports/admission.ts'
import type { EffectBatch } from '../ports/effect-store.ts'
import type { Logger } from '../runtime/logger.ts'
import { Membership } from '../runtime/membership.ts'
import { startAll, stopAll, type Service } from '../runtime/service.ts'
import { Engine } from '../stateful/engine/engine.ts'
import { heirsWithout, Ownership } from '../stateful/partition/ownership.ts'
import type { GatewayPorts } from '../stateless/gateway/options.ts'
import { runProjection } from '../subscribers/run-projection.ts'
import { runReactor } from '../subscribers/run-reactor.ts'
import { carriedPorts, carrierName, openCarried, type Carried } from './carriers.ts'
import { copiedDatabase } from './copied-database.ts'
import type { App } from './define-app.ts'
import { directCalls, doorFor, type Direct } from './direct-calls.ts'
import type { ResolvedOptions } from './options.ts'

/** What the gateway needs of a started backend, and how to stop it. */
export interface Backend {
  readonly ports: GatewayPorts
  /** Undefined: none is armed. */
  readonly crash: CrashPoints | undefined
  /** Why this instance takes no commands any more, see `Membership.refusal`. */
  refusal(): TwofoldError | undefined
  stop(): Promise<void>
}

/** Connects to `url`, brings its schema up to date and starts what the roles ask for. @throws TwofoldError, see `migrate` */
export async function startBackend(app: App, url: string, options: ResolvedOptions, log: Logger): Promise<Backend> {
  const crash = crashPointsOf(options, log)
  const slots = await migrate(url, { appName: app.name, partitionCount: options.partitionCount, crash })
  if (slots.isCopy && options.carrier !== 'postgres') throw copiedDatabase(slots.databaseId)
  const database = new PostgresDatabase({ url, applicationName: 'twofold', log, leaseMs: options.leaseMs, crash })
  const secret = options.secret ?? (await readSecret(database).catch((error: unknown) => closedAfter(error, database)))
  const instanceId = randomUUID()
  // Membership has a connection to itself: a lease must not wait behind the queries of users.
  const lease = new PostgresDatabase({
    url,
    applicationName: 'twofold membership',
    log,
    connectionsMax: 1,
    leaseMs: options.leaseMs,
    statementMs: Math.floor(options.leaseMs / 3),
  })
  const ids = new PostgresCommandIds({ database })
  const now = (): number => ids.now()
  const signals: Signals = new Signals({ url, log, hasPeers: () => members.membership.hasPeers() })
  const events = new PostgresEventLog({ database, signals, instanceId, partitionCount: slots.partitionCount })
  const instances = new PostgresInstances(lease, signals, log)
  // Whether a broker still has a command cannot be asked; it may, as long as such a one would be run, and for an hour more while it runs.
  const oldest = Math.max(RETENTION_HOURS_MIN, ...retentionHours(app).values()) * HOUR_MS
  const mayRun = (id: string): boolean => Math.abs(now() - madeAt(id)) < oldest
  const isCarried = options.carrier === 'postgres' ? undefined : mayRun
  const outcomes = new PostgresOutcomes({ database, signals, log, inHand: (id) => members.engine?.inHand(id) ?? false, isCarried })
  const onCommitted = (batch: EffectBatch): void => {
    outcomes.committed(batch.outcomes)
    if (batch.outcomes.length > 0) signals.ringOthers('outcome')
    if (batch.events.length > 0) signals.ring('event')
  }
  const storing = { url, instanceId, leaseMs: options.leaseMs, onCommitted }
  const store = new PostgresEffectStore({ ...storing, applicationName: 'twofold engine', crash })
  const sqlStore = new PostgresSqlStore({ ...storing, statementMs: options.sqlHandlerMs, crash })
  const closeAll = async (): Promise<void> => {
    await carried?.open.close().catch((error: unknown) => log.warn({ reason: String(error) }, 'the broker was not left cleanly'))
    await Promise.all([database.close(), lease.close()])
  }
  let carried: Carried | undefined
  try {
    carried = await openCarried(options.carrier, options.brokers, carrierContext(app, options, { instanceId, slots, log }))
  } catch (error) {
    await closeAll()
    throw error
  }
  const carrier = carried?.open
  const members = membersOf({ app, options, log, crash, store, sqlStore, slots, instances, instanceId, signals, secret, now, carrier })
  // Only the disk of the embedded server can be seen from here.
  const freeSpace = new FreeSpace(options.url === undefined ? options.dataDir : undefined)
  const backlog = new PostgresBacklog({ database, instanceId, limits: options.backlog, freeSpace, log })
  const commandLog = new PostgresCommandLog({ url, slots, signals, backlog, crash })
  const runtime = { log: events, logger: log, crash }
  const subscribers = options.roles.includes('subscribers')
    ? [...app.projections.map((each) => runProjection(each, runtime)), ...app.reactors.map((each) => runReactor(each, runtime))]
    : []
  const direct = { log: commandLog, direct: members.direct.calls }
  const through = { ...direct, app, whenAway: options.whenAway, slots, database, mayRun, logger: log, crash }
  const { doubts, ...ways } = carried === undefined ? { ...direct, doubts: undefined } : carriedPorts(carried, through)
  const services: Service[] = [
    ids,
    new Housekeeping({ database, log, crash, now: () => ids.now(), retentionHours: retentionHours(app) }),
    signals,
    commandLog,
    members,
    backlog,
    ...(doubts === undefined ? [] : [doubts]),
    ...subscribers,
  ]
  try {
    await prepared(database, options.prepare)
    await startAll([...services, readModels(app, events)])
  } catch (error) {
    await closeAll()
    throw error
  }
  const refusal = (): TwofoldError | undefined => members.membership.refusal
  return {
    crash,
    refusal,
    ports: {
      ...ways,
      outcomes,
      entities: new PostgresEntities(database),
      database,
      ids,
      admission: admissionOf(backlog, refusal),
      progress: new PostgresProjectionProgress({ database, signals, projections: projectionsByService(app) }),
    },
    async stop() {
      await crash?.reach('shutdown.begun')
      try {
        await stopAll(services)
      } finally {
        await closeAll()
      }
    },
  }
}

/** Whoever may not be a member any more takes nothing: where it would be carried to nobody looks. */
function admissionOf(backlog: PostgresBacklog, refusal: () => TwofoldError | undefined): Admission {
  return {
    admit(command) {
      const refused = refusal()
      if (refused !== undefined) throw refused
      backlog.admit(command)
    },
  }
}

async function closedAfter(error: unknown, database: PostgresDatabase): Promise<never> {
  await database.close()
  throw error
}

interface Members extends Service {
  readonly membership: Membership
  readonly engine: Engine | undefined
  readonly direct: Direct
}

interface MembersOptions {
  readonly app: App
  readonly crash: CrashPoints | undefined
  readonly options: ResolvedOptions
  readonly log: Logger
  readonly store: PostgresEffectStore
  readonly sqlStore: PostgresSqlStore
  readonly slots: Awaited<ReturnType<typeof migrate>>
  readonly instances: PostgresInstances
  readonly instanceId: string
  readonly signals: Signals
  readonly secret: string
  readonly now: () => number
  readonly carrier: OpenCarrier | undefined
}

/** Membership, the way to other instances and, for the stateful role, the engine with its partitions and its door. */
function membersOf(members: MembersOptions): Members {
  const { app, options, log, crash, store, sqlStore, slots, instances, instanceId, signals, now, carrier } = members
  const shared = {
    instances,
    id: instanceId,
    roles: options.roles,
    leaseMs: options.leaseMs,
    carrier: carrierName(options.carrier),
    log,
    crash,
  }
  if (!options.roles.includes('stateful')) {
    const direct = directCalls({ ...members, engine: undefined, look: () => membership.lookNow() })
    const onLook = (cluster: Cluster): Promise<undefined> => {
      direct.directory.update(cluster)
      return Promise.resolve(undefined)
    }
    const membership: Membership = new Membership({ ...shared, onLook })
    const services = [direct.calls, membership]
    return { membership, engine: undefined, direct, start: () => startAll(services), stop: () => stopAll(services) }
  }
  const engine: Engine = new Engine({
    sides: app.stateful,
    sql: { sides: app.statefulSql, store: sqlStore, handlerMs: options.sqlHandlerMs },
    store,
    slots,
    log,
    crash,
    now,
    handlerMs: options.handlerMs,
    carriedMsMax: carriedMsMaxOf(app),
    carrier,
    // Where a test lets processes die its few clients must meet batches that are planned ahead, too.
    overlapMin: crash === undefined ? undefined : 2,
    mayWrite: () => membership.mayWrite(),
    fenced: (partitions) => {
      ownership.fenced(partitions)
      membership.lookNow()
    },
    onAppended: (wake) => signals.listen('command', wake),
  })
  const ownership = new Ownership({
    instances,
    id: instanceId,
    log,
    crash,
    adopt: async (rows) => {
      await engine.adopt(rows)
      // Those who call learn of it at once, and not at their next look.
      signals.ringOthers('partition')
    },
    drop: (partitions) => engine.drop(partitions),
  })
  const direct = directCalls({ ...members, engine, look: () => membership.lookNow() })
  const door = doorFor(engine, direct.directory, members)
  const membership: Membership = new Membership({
    ...shared,
    address: () => door.address,
    healthy: () => engine.busyMs() < options.leaseMs,
    onLook: (cluster) => {
      direct.directory.update(cluster)
      return ownership.balance(cluster)
    },
    onHandedOver: (rows) => ownership.handedOver(rows),
    heirs: (cluster) => heirsWithout(instanceId, cluster),
    onLost: () => ownership.lost(),
  })
  return {
    membership,
    engine,
    direct,
    start: () => startAll([engine, door, direct.calls, membership]),
    async stop() {
      try {
        await direct.calls.stop()
        await engine.stop()
        await door.stop()
        await crash?.reach('shutdown.drained')
      } finally {
        await membership.stop()
        await crash?.reach('shutdown.left')
      }
    },
  }
}

function carrierContext(
  app: App,
  { leaseMs, backlog, whenAway }: ResolvedOptions,
  { instanceId, slots, log }: Pick<MembersOptions, 'instanceId' | 'slots' | 'log'>,
): CarrierContext {
  const warn = (fields: object, message: string): void => log.warn(fields, message)
  const waitingMax = backlog.waitingCommandsMax
  const carriedMsMax = Math.max(...app.contracts.map(({ name }) => carriedMsMaxOf(app)(name)), HOUR_MS)
  const { databaseId, partitionCount } = slots
  return { app: app.name, databaseId, partitionCount, instanceId, leaseMs, waitingMax, carriedMsMax, mayBeAway: whenAway === 'log', warn }
}

function crashPointsOf({ crash }: ResolvedOptions, log: Logger): CrashPoints | undefined {
  return crash.length === 0 ? undefined : new CrashPoints({ armed: crash, log, signal: (name) => process.kill(process.pid, name) })
}

/** One process at a time: statements such as `create table if not exists` fail when two run them at once. */
async function prepared(database: PostgresDatabase, prepare: ResolvedOptions['prepare']): Promise<void> {
  if (prepare === undefined) return
  await database.transaction(async (tx) => {
    await tx.query(`set local lock_timeout = '30s'`)
    await tx.query(`select pg_advisory_xact_lock(hashtextextended('twofold prepare', 0))`)
    await prepare(tx)
  })
}

/** Registers read models in every role: a query may come before the first process with the subscribers' role. */
function readModels(app: App, events: PostgresEventLog): Service {
  return {
    async start() {
      for (const { name, start, tables } of app.projections) await events.register(name, { start, tables })
    },
    stop: () => Promise.resolve(),
  }
}

function projectionsByService(app: App): Map<string, string[]> {
  const names = new Map<string, string[]>()
  for (const { name, from } of app.projections) {
    for (const contract of Object.values(from)) names.set(contract.name, [...(names.get(contract.name) ?? []), name])
  }
  return names
}

function retentionHours({ contracts }: App): Map<string, number> {
  return new Map(contracts.map((contract) => [contract.name, contract.retentionHours]))
}

/** Outcomes tell whether a command has run. An hour before they may be gone, one that is still in the log is not run any more. */
function carriedMsMaxOf(app: App): (service: string) => number {
  const hours = retentionHours(app)
  return (service) => ((hours.get(service) ?? RETENTION_HOURS_MIN) - 1) * HOUR_MS
}
