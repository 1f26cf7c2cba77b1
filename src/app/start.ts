// Starts an app in this process: the database, what the roles ask for, and an HTTP server. Touches neither environment nor signals.
import fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { openapiDocument } from '../documents/openapi.ts'
import { gatewayPlugin } from '../stateless/gateway/plugin.ts'
import { gatewayServerOptions, refuseExpectations } from '../stateless/gateway/server-options.ts'
import { startBackend, type Backend } from './backend.ts'
import { carrierName } from './carriers.ts'
import { openDatabaseSource } from './database-source.ts'
import { watchConnections, type Connections } from './connections.ts'
import { withoutVersions, type App } from './define-app.ts'
import { addHealthRoutes } from './health.ts'
import { listen } from './listen.ts'
import { resolveOptions, type ResolvedOptions, type Role, type StartOptions } from './options.ts'

/** How long requests in hand may take once the app is asked to stop. */
const CLOSE_MS_MAX = 1000

/** An app that runs. Disposing stops it. */
export interface RunningApp {
  /** Where it listens, such as `http://127.0.0.1:3000`. */
  readonly url: string
  /** Port 3000 was taken, so it listens on a later one. */
  readonly moved: boolean
  readonly roles: readonly Role[]
  /** The data folder, or the server's address without its password. */
  readonly database: string
  /** What carries commands, as in `carrier: 'rabbitmq'`. */
  readonly carrier: string
  /**
   * Not ready any more → requests in hand are finished, waiting ones answered 202 → the engine finishes its batch and gives its
   * partitions back → connections closed. A second call waits for the first.
   */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts an app. With `url` it uses that PostgreSQL server, otherwise an embedded one in `dataDir`; commands go by its log, or by the `carrier`.
 * @throws TwofoldError with one sentence that says what to do: INVALID_OPTIONS, DATABASE_UNREACHABLE, DATABASE_FORBIDDEN,
 * DATABASE_READ_ONLY, DATABASE_TOO_OLD, SCHEMA_TOO_NEW, APP_MISMATCH, CARRIER_MISMATCH, PROJECTION_CHANGED, DATA_FOLDER_UNUSABLE, DATA_FOLDER_IN_USE,
 * EMBEDDED_POSTGRES_FAILED, PORT_TAKEN; where a broker carries commands BROKER_UNREACHABLE, INVALID_TOPOLOGY, DATABASE_COPIED.
 */
export async function start(app: App, options: StartOptions & { progress?: (line: string) => void } = {}): Promise<RunningApp> {
  const resolved = resolveOptions(options)
  const log = pino({ level: resolved.logLevel, base: { app: app.name } }, pino.destination({ dest: 2, sync: true }))
  const stopping = new AbortController()
  // Fastify's own remarks (that it listens, on which address) say less than ours.
  const server = newServer(log.child({}, { level: resolved.logLevel === 'info' ? 'warn' : resolved.logLevel }))
  const connections = watchConnections(server.server)
  const source = await openDatabaseSource(resolved, options.progress ?? (() => undefined))
  const undo: (() => Promise<void>)[] = [() => source.stop()]
  try {
    const backend = await startBackend(app, source.url, resolved, log)
    undo.push(() => backend.stop())
    let ready = false
    addHealthRoutes(server, () => (stopping.signal.aborted ? 'stopping' : ready ? backend.refusal()?.message : 'starting'))
    await addGateway(server, app, resolved, backend, stopping.signal)
    const { url, moved } = await listen(server, resolved.host, resolved.port)
    undo.push(() => closeServer(server, connections))
    ready = true
    log.info({ url, roles: resolved.roles }, 'started')
    let stopped: Promise<void> | undefined
    const stop = (): Promise<void> => {
      stopping.abort()
      stopped ??= undoAll(undo)
      return stopped
    }
    const carrier = carrierName(resolved.carrier)
    return { url, moved, roles: resolved.roles, database: source.shown, carrier, stop, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await server.close()
    await undoAll(undo).catch(() => undefined)
    throw error
  }
}

/** Requests are not logged one by one; headers and requests that never end are cut. */
function newServer(log: FastifyBaseLogger): FastifyInstance {
  const server = fastify({
    ...gatewayServerOptions(),
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    // One logger for all requests: a child of it for each costs more than the few that ever log need; their lines name the request.
    childLoggerFactory: (parent) => parent,
    forceCloseConnections: 'idle',
    requestTimeout: 30_000,
  })
  refuseExpectations(server.server)
  return server
}

async function addGateway(
  server: FastifyInstance,
  app: App,
  options: ResolvedOptions,
  backend: Backend,
  stopping: AbortSignal,
): Promise<void> {
  const serves = options.roles.includes('stateless')
  await server.register(
    gatewayPlugin({
      contracts: serves ? app.contracts : [],
      sides: serves ? app.stateless : [],
      withoutVersions: withoutVersions(app),
      ports: backend.ports,
      crash: backend.crash,
      accepting: () => !stopping.aborted,
      stopping,
      unknownPaths: true,
      ...(serves
        ? {
            openapi: () =>
              openapiDocument({ title: app.name, version: '1', contracts: app.contracts, withoutVersions: withoutVersions(app) }),
          }
        : {}),
    }),
  )
}

/** Requests in hand get a second; connections without one, and those that are still open then, are cut. */
async function closeServer(server: FastifyInstance, connections: Connections): Promise<void> {
  const overdue = setTimeout(() => server.server.closeAllConnections(), CLOSE_MS_MAX)
  const closed = server.close()
  connections.cutIdle()
  await closed.finally(() => clearTimeout(overdue))
}

/** In reverse order, all of them, then the first failure. */
async function undoAll(undo: (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = []
  for (const step of undo.splice(0).toReversed()) await step().catch((failure: unknown) => failures.push(failure))
  if (failures.length > 0) throw failures[0]
}
