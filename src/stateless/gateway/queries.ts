// A query over HTTP: input, the service's function, its output through the schema, the version read as entity tag.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { upgradeState, type AnyEntity } from '../../contract/entity.ts'
import type { AnyQuery } from '../../contract/query.ts'
import type { Route } from '../../contract/route.ts'
import { TwofoldError } from '../../errors.ts'
import { parseToken, type ConsistencyToken } from '../../ports/projections.ts'
import type { AnyStateless, Principal, QueryContext } from '../stateless.ts'
import { declared } from './accept-command.ts'
import { jsonAnswer, type Answer } from './answer.ts'
import type { Gateway } from './commands.ts'
import { entityTag, noneMatchNames } from './entity-tag.ts'
import { compileInput } from './input.ts'
import { excerptOf } from './problem.ts'
import { whenGone } from './waiting.ts'

/** The handler of a query's route. @throws TwofoldError INVALID_APP where no stateless side answers the query. */
export function queryHandler(
  gateway: Gateway,
  query: AnyQuery,
  side: AnyStateless | undefined,
  route: Route,
): (request: FastifyRequest, reply: FastifyReply) => Promise<Answer> {
  const { service, name } = query
  const ask = side?.spec.queries?.[name]
  if (!ask) throw new TwofoldError('INVALID_APP', `query '${service}.${name}' is answered by no stateless side of '${service}'`)
  const readInput = compileInput(query, route)
  const what = `the output of query '${service}.${name}'`
  return async (request, reply) => {
    const token = tokenOf(request.headers['twofold-consistency-token'])
    const value = readInput(request)
    const principal = gateway.options.principal && (await gateway.options.principal(request))
    const run = new QueryRun(gateway, service, token, reply)
    const output = await run.ask(() => ask(value, run.context(principal)))
    const { tag } = run
    const headers: Record<string, string> = tag === undefined ? {} : { etag: tag, 'cache-control': 'no-cache' }
    if (tag !== undefined && noneMatchNames(request.headers['if-none-match'], tag)) return { status: 304, headers, body: '' }
    return jsonAnswer(JSON.stringify(declared(query.output, output, what)), headers)
  }
}

function tokenOf(header: string | string[] | undefined): ConsistencyToken | undefined {
  if (header === undefined) return undefined
  const token = typeof header === 'string' ? parseToken(header.trim()) : undefined
  if (token) return token
  const given = excerptOf(String(header))
  const message = `the consistency token is ${given}; one reads like '12.345': send it as a command's answer gave it, or leave it out`
  throw new TwofoldError('INVALID_CONSISTENCY_TOKEN', message)
}

/** What one query does while it runs. */
class QueryRun {
  readonly #gateway: Gateway
  readonly #service: string
  readonly #token: ConsistencyToken | undefined
  readonly #reply: FastifyReply
  readonly #versions: number[] = []
  #usedDatabase = false
  #caughtUp: Promise<void> | undefined
  #behind: TwofoldError | undefined
  #controller: AbortController | undefined
  #unwatch: (() => void) | undefined

  constructor(gateway: Gateway, service: string, token: ConsistencyToken | undefined, reply: FastifyReply) {
    this.#gateway = gateway
    this.#service = service
    this.#token = token
    this.#reply = reply
  }

  /** The version of the one entity read. None where read models had a part in the answer: they change without that version. */
  get tag(): string | undefined {
    const [version, second] = this.#versions
    return this.#usedDatabase || version === undefined || version === 0 || second !== undefined ? undefined : entityTag(version)
  }

  context(principal: Principal | undefined): QueryContext<string> {
    const signal = (): AbortSignal => this.#signal()
    return {
      principal,
      read: (entity, key) => this.#read(entity, key) as never,
      db: { query: (text, values) => this.#query(text, values) },
      notFound,
      get signal() {
        return signal()
      },
    }
  }

  async ask(query: () => unknown): Promise<unknown> {
    try {
      const output = await query()
      // A query that swallowed our "not caught up" must not answer with what is too old.
      if (this.#behind) throw this.#behind
      return output
    } finally {
      this.#unwatch?.()
    }
  }

  async #read(entity: AnyEntity, key: string): Promise<{ state: unknown; version: number } | undefined> {
    const found = await this.#gateway.ports.entities.read(entity.service, key)
    this.#versions.push(found?.version ?? 0)
    return found && { state: upgradeState(entity, found.shape, JSON.parse(found.state)), version: found.version }
  }

  /** States are read where they are written; only read models can lag, so only they wait for the token. */
  async #query<Row>(text: string, values?: readonly unknown[]): Promise<{ rows: Row[]; rowCount: number | null }> {
    this.#usedDatabase = true
    if (this.#token) await (this.#caughtUp ??= this.#catchUp(this.#token))
    return this.#gateway.ports.database.query<Row>(text, values)
  }

  async #catchUp(token: ConsistencyToken): Promise<void> {
    const { ports, limits } = this.#gateway
    if (await ports.progress.caughtUp(this.#service, token, limits.caughtUpMs, this.#signal())) return
    const message = `the read models of '${this.#service}' have not reached the consistency token within ${limits.caughtUpMs} ms`
    this.#behind = new TwofoldError('NOT_CAUGHT_UP', message, { retryAfterSeconds: 1 })
    throw this.#behind
  }

  #signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController()
      this.#controller = controller
      this.#unwatch = whenGone(this.#reply, () => controller.abort())
    }
    return this.#controller.signal
  }
}

function notFound(message = 'there is nothing under this address'): never {
  throw new TwofoldError('NOT_FOUND', message)
}
