// What `start` can be told, resolved once: every fault is reported together with what was given and what is allowed.
import type { BacklogLimits } from '../adapters/postgres/backlog.ts'
import { HOUR_MS } from '../adapters/postgres/outcome-tables.ts'
import { TwofoldError } from '../errors.ts'
import type { Carrier } from '../ports/carrier.ts'
import type { Transaction } from '../ports/database.ts'
import { parseCrashPoints, type ArmedPoint } from '../runtime/crash-points.ts'
import { shownValue } from '../runtime/without-password.ts'
import type { WhenAway } from '../stateless/carried/carried-log.ts'
import { carrierFaults } from './carrier-faults.ts'
import type { BrokerAddresses, CarrierName } from './carriers.ts'

/** What a process does: take requests, own partitions, handle events. */
export type Role = 'stateless' | 'stateful' | 'subscribers'

export const ROLES: readonly Role[] = ['stateless', 'stateful', 'subscribers']

/** How much is logged. */
export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'

const LOG_LEVELS: readonly LogLevel[] = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

const LEASE_MS_MIN = 500
const HANDLER_MS = 5000
const LEASE_MS_MAX = 600_000
const SECRET_MIN = 16
export const AMQP_URL = 'amqp://guest:guest@127.0.0.1:5672'
/** Where Kafka is looked for. */
export const KAFKA_BROKERS: readonly string[] = ['127.0.0.1:9092']

/** Settings of one process. All have defaults; `run` reads them from the environment. */
export interface StartOptions {
  /** Which parts of the app run here. Default: all. */
  readonly roles?: readonly Role[] | undefined
  /** A PostgreSQL server, 15 or newer: `postgres://user:password@host:port/database`. Default: an embedded one in `dataDir`. */
  readonly url?: string | undefined
  /** Where the embedded PostgreSQL keeps its data. Default `.twofold` in the working directory. */
  readonly dataDir?: string | undefined
  /** The address to listen on. Default `127.0.0.1`; `0.0.0.0` for everybody, as in a container. */
  readonly host?: string | undefined
  /** The port to listen on; 0 takes any free one. Default 3000, or the next free one. A port that was asked for and is taken is an error. */
  readonly port?: number | undefined
  /**
   * The address on which a stateful instance is called by the others, and which they are told. Default: that of `host`. On all addresses
   * (`0.0.0.0`) they are told the first one of a network.
   */
  readonly internalHost?: string | undefined
  /** The port for that; never one to be published. Default 0: any free one. */
  readonly internalPort?: number | undefined
  /**
   * What the instances of an app show each other, the same for all of them, of 16 characters or more. Default: a random one that is kept in
   * the database.
   */
  readonly secret?: string | undefined
  /** Default `info`. */
  readonly logLevel?: LogLevel | undefined
  /**
   * How long an instance may be silent before others take over its partitions, in milliseconds. Default 10,000. Shorter makes a
   * crash cost less and a pause of the process (garbage collection, a stopped machine) more.
   */
  readonly leaseMs?: number | undefined
  /**
   * How long one run of an entity handler may take, or an SQL handler hold the thread without letting anything else run, in milliseconds. Such
   * a handler holds up all of its process: after this time the process is ended, and others take over. Default half of `leaseMs`, 5,000 at most; `false`: never
   * (to step through a handler with a debugger).
   */
  readonly handlerMs?: number | false | undefined
  /**
   * How long one run of an SQL handler may take, in milliseconds. After this time it is cut: its signal is aborted, its transaction ended, and
   * the command tried again or buried, as its contract says. One that leaves its transaction idle between two statements for half of
   * `leaseMs` (5 s by default) is cut then already; to wait longer than that without a statement, raise `leaseMs`. A slow handler holds up its
   * own keys, and others only at the bounds that `docs/reference/limits.md` names. Default 10,000; at most 600,000.
   */
  readonly sqlHandlerMs?: number | undefined
  /**
   * Prepares your own tables, before anything takes commands: at every start, in one transaction, and in one process at a time. A failure is a
   * failure of the start.
   */
  readonly prepare?: ((tx: Transaction) => Promise<void>) | undefined
  /** Into how many partitions a new database is divided; an existing one keeps its number. Default 64. */
  readonly partitionCount?: number | undefined
  /**
   * What carries commands from the stateless to the stateful side; the same for all instances of an app. Default `postgres`: its own log.
   * `rabbitmq` and `kafka` need their npm package, see `docs/guides/carriers.md`; or a carrier of your own.
   */
  readonly carrier?: CarrierName | Carrier | undefined
  /** RabbitMQ, as `amqp://user:password@host:port/vhost` or `amqps://…`. Default `amqp://guest:guest@127.0.0.1:5672`. */
  readonly amqpUrl?: string | undefined
  /** Kafka's bootstrap servers, as `host:port`. Default `['127.0.0.1:9092']`. */
  readonly kafkaBrokers?: readonly string[] | undefined
  /**
   * What happens to commands while the broker is away: `refuse` answers 503, `log` has PostgreSQL keep them and hand them on when it is back.
   * `log` costs a look at PostgreSQL with each command also while the broker is there. Default `refuse`.
   */
  readonly whenAway?: WhenAway | undefined
  /** How many commands of the app may wait to be run; beyond it new ones are answered 429. Default 5,000,000. */
  readonly waitingCommandsMax?: number | undefined
  /** How large those that wait in the log may be together, in bytes; beyond it new ones are answered 429. Default 10 GiB. */
  readonly waitingBytesMax?: number | undefined
  /**
   * How long the oldest command of a partition may have waited, in milliseconds; beyond it that partition's new ones are answered 429.
   * Default 43,200,000 (12 hours): a command that waited 23 hours is not run any more. `false`: however long.
   */
  readonly waitingMsMax?: number | false | undefined
  /** How many commands may wait behind one key whose head keeps failing; beyond it this key's new ones are answered 429. Default 10,000. */
  readonly parkedPerKeyMax?: number | undefined
  /**
   * For tests: at which crash points this process is to be killed or disturbed, as `name:n:action` (the n-th time it is passed), several
   * separated by commas. Actions: `kill`, `stop` (SIGSTOP), `throw`, `drop` (the connection in use), `delay=<milliseconds>`. Default: none.
   */
  readonly crash?: string | undefined
}

/** `StartOptions` with nothing left open. */
export interface ResolvedOptions {
  readonly roles: readonly Role[]
  readonly url: string | undefined
  readonly dataDir: string
  readonly host: string
  /** Undefined: 3000 or the next free one. */
  readonly port: number | undefined
  readonly internalHost: string
  readonly internalPort: number
  readonly secret: string | undefined
  readonly logLevel: LogLevel
  readonly leaseMs: number
  readonly handlerMs: number | false
  readonly sqlHandlerMs: number
  readonly prepare: ((tx: Transaction) => Promise<void>) | undefined
  readonly partitionCount: number
  readonly backlog: BacklogLimits
  readonly carrier: CarrierName | Carrier
  readonly brokers: BrokerAddresses
  readonly whenAway: WhenAway
  readonly crash: readonly ArmedPoint[]
}

/** @throws TwofoldError INVALID_OPTIONS with one sentence per fault. */
export function resolveOptions(options: StartOptions): ResolvedOptions {
  const crash = options.crash === undefined ? { armed: [], faults: [] } : parseCrashPoints(options.crash)
  const resolved: ResolvedOptions = {
    roles: options.roles ?? ROLES,
    url: options.url,
    dataDir: options.dataDir ?? '.twofold',
    host: options.host ?? '127.0.0.1',
    port: options.port,
    internalHost: options.internalHost ?? options.host ?? '127.0.0.1',
    internalPort: options.internalPort ?? 0,
    secret: options.secret,
    logLevel: options.logLevel ?? 'info',
    leaseMs: options.leaseMs ?? 10_000,
    handlerMs: options.handlerMs ?? Math.min(HANDLER_MS, Math.floor((options.leaseMs ?? 10_000) / 2)),
    sqlHandlerMs: options.sqlHandlerMs ?? 10_000,
    prepare: options.prepare,
    partitionCount: options.partitionCount ?? 64,
    backlog: {
      waitingCommandsMax: options.waitingCommandsMax ?? 5_000_000,
      waitingBytesMax: options.waitingBytesMax ?? 10 * 1024 ** 3,
      waitingMsMax: options.waitingMsMax ?? 12 * HOUR_MS,
      parkedPerKeyMax: options.parkedPerKeyMax ?? 10_000,
    },
    carrier: options.carrier ?? 'postgres',
    brokers: { amqpUrl: options.amqpUrl ?? AMQP_URL, kafkaBrokers: options.kafkaBrokers ?? KAFKA_BROKERS },
    whenAway: options.whenAway ?? 'refuse',
    crash: crash.armed,
  }
  const faults = [
    ...resolved.roles.filter((role) => !ROLES.includes(role)).map((role) => `role '${role}' is not one of ${ROLES.join(', ')}`),
    ...(resolved.roles.length === 0 ? [`roles is empty; allowed are ${ROLES.join(', ')}`] : []),
    ...(LOG_LEVELS.includes(resolved.logLevel) ? [] : [`log level '${resolved.logLevel}' is not one of ${LOG_LEVELS.join(', ')}`]),
    ...outside('port', resolved.port ?? 0, 0, 65_535),
    ...wrongDatabaseUrl('url', resolved.url),
    ...outside('internalPort', resolved.internalPort, 0, 65_535),
    ...(resolved.secret === undefined || resolved.secret.length >= SECRET_MIN ? [] : [shortSecret('secret', resolved.secret)]),
    ...outside('leaseMs', resolved.leaseMs, LEASE_MS_MIN, LEASE_MS_MAX),
    ...(resolved.handlerMs === false ? [] : outside('handlerMs', resolved.handlerMs, 10, resolved.leaseMs)),
    ...outside('sqlHandlerMs', resolved.sqlHandlerMs, 10, 600_000),
    ...outside('partitionCount', resolved.partitionCount, 1, 4096),
    ...Object.entries(resolved.backlog).flatMap(([name, value]) =>
      value === false ? [] : outside(name, value, 1, Number.MAX_SAFE_INTEGER),
    ),
    ...carrierFaults(options, { carrier: 'carrier', amqpUrl: 'amqpUrl', kafkaBrokers: 'kafkaBrokers', whenAway: 'whenAway' }),
    ...crash.faults.map((fault) => `crash: ${fault}`),
  ]
  if (faults.length > 0) throw new TwofoldError('INVALID_OPTIONS', faults.join('; '))
  return resolved
}

/** The settings that the environment has; an empty variable counts as unset. @throws TwofoldError INVALID_ENVIRONMENT with one sentence per fault */
export function optionsFromEnvironment(environment: Readonly<Record<string, string | undefined>>): StartOptions {
  const faults: string[] = []
  const text = (name: string): string | undefined => (environment[name]?.trim() === '' ? undefined : environment[name])
  const number = (name: string, min: number, max: number, what: string): number | undefined => {
    const given = text(name)
    if (given === undefined) return undefined
    if (!/^\d{1,6}$/.test(given) || Number(given) < min || Number(given) > max)
      faults.push(`${name} is '${given}'; it must be ${what} from ${min} to ${max}`)
    return Number(given)
  }
  const options = {
    url: text('DATABASE_URL'),
    dataDir: text('TWOFOLD_DATA_DIR'),
    host: text('HOST'),
    port: number('PORT', 0, 65_535, 'a number'),
    internalHost: text('TWOFOLD_INTERNAL_HOST'),
    internalPort: number('TWOFOLD_INTERNAL_PORT', 0, 65_535, 'a number'),
    secret: text('TWOFOLD_SECRET'),
    logLevel: text('LOG_LEVEL') as LogLevel | undefined,
    leaseMs: number('TWOFOLD_LEASE_MS', LEASE_MS_MIN, LEASE_MS_MAX, 'a number of milliseconds'),
    carrier: text('TWOFOLD_CARRIER') as CarrierName | undefined,
    amqpUrl: text('AMQP_URL'),
    kafkaBrokers: text('KAFKA_BROKERS')
      ?.split(',')
      .map((each) => each.trim()),
    whenAway: text('TWOFOLD_WHEN_AWAY') as WhenAway | undefined,
    crash: text('TWOFOLD_CRASH'),
  }
  faults.push(...wrongDatabaseUrl('DATABASE_URL', options.url))
  const names = { carrier: 'TWOFOLD_CARRIER', amqpUrl: 'AMQP_URL', kafkaBrokers: 'KAFKA_BROKERS', whenAway: 'TWOFOLD_WHEN_AWAY' }
  faults.push(...carrierFaults(options, names))
  if (options.logLevel !== undefined && !LOG_LEVELS.includes(options.logLevel))
    faults.push(`LOG_LEVEL is '${options.logLevel}'; it must be one of ${LOG_LEVELS.join(', ')}`)
  if (options.secret !== undefined && options.secret.length < SECRET_MIN) faults.push(shortSecret('TWOFOLD_SECRET', options.secret))
  if (options.crash !== undefined) faults.push(...parseCrashPoints(options.crash).faults.map((fault) => `TWOFOLD_CRASH: ${fault}`))
  if (faults.length > 0) throw new TwofoldError('INVALID_ENVIRONMENT', faults.join('; '))
  return options
}

/** Without the secret itself: the message is printed. */
function shortSecret(name: string, { length }: string): string {
  return `${name} has ${length} characters; it must have ${SECRET_MIN} or more, chosen at random`
}

function wrongDatabaseUrl(name: string, value: unknown): string[] {
  if (value === undefined) return []
  if (typeof value === 'string' && /^postgres(ql)?:$/.test(URL.parse(value)?.protocol ?? '')) return []
  return [`${name} is ${shownValue(value)}; it must read postgres://user:password@host:5432/database`]
}

function outside(name: string, value: number, min: number, max: number): string[] {
  return Number.isInteger(value) && value >= min && value <= max
    ? []
    : [`${name} is ${value}; it must be a whole number from ${min} to ${max}`]
}
