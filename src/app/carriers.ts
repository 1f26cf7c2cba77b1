// Which way commands take from the stateless to the stateful side, as one setting: PostgreSQL's log, a broker, or a carrier of one's own.
import { LogWaits } from '../adapters/postgres/log-waits.ts'
import { PostgresClaims } from '../adapters/postgres/claims.ts'
import { PostgresDoubtStore } from '../adapters/postgres/doubt-store.ts'
import type { Carrier, CarrierContext, OpenCarrier } from '../ports/carrier.ts'
import type { CommandLog } from '../ports/command-log.ts'
import type { Database } from '../ports/database.ts'
import type { DirectCarrier } from '../ports/direct-carrier.ts'
import type { SlotMap } from '../ports/slots.ts'
import type { CrashPoints } from '../runtime/crash-points.ts'
import type { Logger } from '../runtime/logger.ts'
import { CarriedCalls } from '../stateless/carried/carried-calls.ts'
import { CarriedCommandLog, type WhenAway } from '../stateless/carried/carried-log.ts'
import { Doubts } from '../stateless/carried/doubts.ts'
import type { GatewayPorts } from '../stateless/gateway/options.ts'
import { withPackageOf } from './broker-packages.ts'
import type { App } from './define-app.ts'

/** The carriers that come with Twofold. */
export type CarrierName = 'postgres' | 'rabbitmq' | 'kafka'

export const CARRIERS: readonly CarrierName[] = ['postgres', 'rabbitmq', 'kafka']

export const WHEN_AWAY: readonly WhenAway[] = ['refuse', 'log']

/** What a carrier is called. */
export function carrierName(carrier: CarrierName | Carrier): string {
  return typeof carrier === 'string' ? carrier : carrier.name
}

/** Where the brokers are. */
export interface BrokerAddresses {
  readonly amqpUrl: string
  readonly kafkaBrokers: readonly string[]
}

/** Loaded when it is chosen: whoever does not use a broker need not have its package. */
const loaders: { readonly [Name in Exclude<CarrierName, 'postgres'>]: (addresses: BrokerAddresses) => Promise<Carrier> } = {
  rabbitmq: async ({ amqpUrl }) => (await import('../adapters/rabbitmq/rabbitmq-carrier.ts')).rabbitmqCarrier(amqpUrl),
  async kafka({ kafkaBrokers }) {
    const { kafkaCarrier } = await import('../adapters/kafka/carrier.ts')
    return kafkaCarrier({ brokers: kafkaBrokers })
  },
}

/** The broker that was chosen; undefined: PostgreSQL's log. @throws TwofoldError INVALID_OPTIONS where its package is missing */
export async function carrierOf(chosen: CarrierName | Carrier, addresses: BrokerAddresses): Promise<Carrier | undefined> {
  if (chosen === 'postgres') return undefined
  return typeof chosen === 'string' ? withPackageOf(chosen, () => loaders[chosen](addresses)) : chosen
}

/** A broker that is connected. */
export interface Carried {
  readonly carrier: Carrier
  readonly open: OpenCarrier
}

/** Connects to it. @throws TwofoldError BROKER_UNREACHABLE, INVALID_TOPOLOGY, INVALID_OPTIONS */
export async function openCarried(
  chosen: CarrierName | Carrier,
  addresses: BrokerAddresses,
  context: CarrierContext,
): Promise<Carried | undefined> {
  const carrier = await carrierOf(chosen, addresses)
  return carrier && { carrier, open: await carrier.open(context) }
}

export interface CarriedPortsOptions {
  readonly app: App
  readonly whenAway: WhenAway
  readonly slots: SlotMap
  readonly database: Database
  /** PostgreSQL's log, and the calls between instances. */
  readonly log: CommandLog
  readonly direct: DirectCarrier
  /** Whether a command is young enough to be run at all. */
  readonly mayRun: (commandId: string) => boolean
  readonly logger: Logger
  readonly crash: CrashPoints | undefined
}

/** The gateway's ways of a command where a broker carries it. */
export function carriedPorts(
  { carrier: { name, features }, open }: Carried,
  { app, whenAway, slots, database, log, direct, mayRun, logger, crash }: CarriedPortsOptions,
): Pick<GatewayPorts, 'log' | 'direct'> & { readonly doubts: Doubts } {
  const claims = new PostgresClaims(database)
  const waits = new LogWaits(database)
  const doubts = new Doubts({ store: new PostgresDoubtStore(database, slots), claims, carrier: open, slots, mayRun, log: logger })
  const shared = { carrier: open, features, claims, doubts, slots, crash }
  const carriedLog = new CarriedCommandLog({
    ...shared,
    name,
    whenAway,
    waiting: log,
    waitsInLog: (partition) => waits.of(partition),
    anyInLog: () => waits.any(),
  })
  const perPath = new Set(
    app.contracts.flatMap(({ name: service, commands }) =>
      Object.values(commands).flatMap((command) => (command.order === 'perPath' ? [`${service}.${command.name}`] : [])),
    ),
  )
  const calls = new CarriedCalls({
    ...shared,
    direct,
    isPerPath: ({ service, command }) => perPath.has(`${service}.${command}`),
    isBehindLog: (envelope) => carriedLog.isBehindLog(envelope),
  })
  return { log: carriedLog, direct: calls, doubts }
}
