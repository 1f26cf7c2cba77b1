// The door for calls of other instances: an HTTP server of its own, on a port that is not the public one, behind a shared secret.
import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Envelope } from '../../contract/envelope.ts'
import { TwofoldError } from '../../errors.ts'
import type { DirectCarrier } from '../../ports/direct-carrier.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Service } from '../../runtime/service.ts'
import { Caller } from './caller.ts'
import { credential, INSTANCE_HEADER, PATH } from './wire.ts'

/** One connection for each other instance, and some that are not let in. */
const CONNECTIONS_MAX = 1000
const HEADERS_MS_MAX = 5000
/** A caller whose machine is gone says nothing; TCP finds out. */
const KEEP_ALIVE_MS = 10_000
/** How long callers may take to read their last results when this instance stops. */
const CLOSE_MS_MAX = 500
/** Who is refused again and again does not fill the log. */
const REFUSALS_LOGGED_EVERY_MS = 10_000

export interface DoorOptions {
  readonly instanceId: string
  /** Who runs the commands: the engine of this process. */
  readonly engine: DirectCarrier
  /** The id of who owns a command's partition, as far as it is known here. */
  readonly ownerOf: (envelope: Envelope) => string | undefined
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly secret: string
  /** The database's time, in milliseconds since 1970. */
  readonly now: () => number
  readonly log: Logger
}

export class Door implements Service {
  readonly #options: DoorOptions
  readonly #server = createServer(
    { requestTimeout: 0, headersTimeout: HEADERS_MS_MAX, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
    (request, response) => this.#answer(request, response),
  )
  readonly #callers = new Set<Caller>()
  readonly #expected: Buffer
  #address: string | undefined
  #stopping: Promise<void> | undefined
  #refusalLoggedAt = -Infinity

  constructor(options: DoorOptions) {
    this.#options = options
    this.#expected = digest(credential(options.secret))
    this.#server.maxConnections = CONNECTIONS_MAX
  }

  /** Where other instances reach it; undefined until it has started. */
  get address(): string | undefined {
    return this.#address
  }

  /** @throws TwofoldError PORT_TAKEN, INVALID_OPTIONS for an address that is not this machine's */
  async start(): Promise<void> {
    const { host, port } = this.#options
    await new Promise<void>((resolve, reject) => {
      this.#server.on('error', reject)
      this.#server.listen({ host, port }, resolve)
    }).catch((error: unknown) => {
      throw startError(error, host, port)
    })
    const { port: bound } = this.#server.address() as AddressInfo
    this.#address = `http://${reachable(host)}:${bound}`
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#close()
    return this.#stopping
  }

  async #close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise((resolve) => this.#server.close(resolve))
    // What the engine has answered last is written first.
    await new Promise(setImmediate)
    const overdue = setTimeout(() => this.#server.closeAllConnections(), CLOSE_MS_MAX)
    await Promise.all([...this.#callers].map((caller) => caller.end()))
    this.#server.closeAllConnections()
    await closed
    clearTimeout(overdue)
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { engine, ownerOf, instanceId, now, log } = this.#options
    const { authorization = '', [INSTANCE_HEADER]: meant } = request.headers
    if (!timingSafeEqual(digest(authorization), this.#expected)) return this.#refuse(request, response, 401)
    if (request.method !== 'POST' || request.url !== PATH) return this.#refuse(request, response, 404)
    if (meant !== instanceId) return this.#refuse(request, response, 421)
    if (this.#stopping !== undefined) return this.#refuse(request, response, 503)
    const caller = new Caller({ request, response, engine, ownerOf, now, log })
    this.#callers.add(caller)
    void caller.serve().finally(() => this.#callers.delete(caller))
  }

  /** Without reading what else it sends. */
  #refuse(request: IncomingMessage, response: ServerResponse, status: 401 | 404 | 421 | 503): void {
    if (status === 401 && performance.now() > this.#refusalLoggedAt + REFUSALS_LOGGED_EVERY_MS) {
      this.#refusalLoggedAt = performance.now()
      this.#options.log.warn(
        { from: request.socket.remoteAddress },
        'refused a call between instances that does not know the secret of this app',
      )
    }
    response.writeHead(status, { connection: 'close', 'content-length': 0 }).end()
    response.once('finish', () => request.destroy())
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function startError(error: unknown, host: string, port: number): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE' || code === 'EACCES') {
    const message = `port ${port} on ${host}, for calls between instances, is taken or not allowed: set TWOFOLD_INTERNAL_PORT to another one, or leave it out for any free one`
    return new TwofoldError('PORT_TAKEN', message, { cause: error })
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    const message = `cannot listen on '${host}' for calls between instances: it is not an address of this machine; set TWOFOLD_INTERNAL_HOST to one that is`
    return new TwofoldError('INVALID_OPTIONS', message, { cause: error })
  }
  return error
}

/** Who listens on all addresses names one that others can reach. */
function reachable(host: string): string {
  const everywhere = host === '0.0.0.0' || host === '::'
  const found = everywhere ? Object.values(networkInterfaces()).flatMap((each) => each ?? []) : []
  const outer = found.find(({ internal, family }) => !internal && family === 'IPv4')?.address
  const address = everywhere ? (outer ?? '127.0.0.1') : host
  return address.includes(':') ? `[${address}]` : address
}
