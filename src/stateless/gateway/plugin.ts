// The gateway: an ordinary Fastify plugin made from contracts. All it adds stays inside its own scope, so that it can be mounted
// under a prefix into anybody's server: routes, body parser, error handler, hooks.
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { routeOf, type Route } from '../../contract/route.ts'
import { TwofoldError } from '../../errors.ts'
import { compileCommand } from './accept-command.ts'
import { jsonAnswer, payloadOf, send, type Answer } from './answer.ts'
import { commandStatusHandler } from './command-status.ts'
import { commandHandler, type Gateway } from './commands.ts'
import { parseJsonBodies } from './json-body.ts'
import { resolveLimits, type GatewayOptions } from './options.ts'
import { problemOfThrown } from './problem.ts'
import { queryHandler } from './queries.ts'
import { compileUnknownPaths } from './unknown-paths.ts'
import { Waiting } from './waiting.ts'

/** Makes the answer to a request; `reply` is there to watch its connection and to log. */
type Handler = (request: FastifyRequest, reply: FastifyReply) => Answer | Promise<Answer>

/** A handler as Fastify takes it. It returns the payload: returning the reply, which is a thenable, would cost another two turns of the queue. */
type RouteHandler = (request: FastifyRequest, reply: FastifyReply) => Promise<string | undefined>

/**
 * Makes the plugin. `server.register(gatewayPlugin(options), { prefix: '/api' })` serves every command and query of the contracts,
 * `GET /commands/:id`, and `/openapi.json` where `openapi` is given.
 * @throws TwofoldError INVALID_OPTIONS for a limit that is none; the registration rejects with INVALID_APP for a query or an
 * optimistic answer that no stateless side makes.
 */
export function gatewayPlugin(options: GatewayOptions): FastifyPluginAsync {
  const limits = resolveLimits(options.limits)
  return async (scope) => {
    const waiting = new Waiting()
    const gateway: Gateway = { ports: options.ports, limits, options, waiting, prefix: scope.prefix.replace(/\/+$/, '') }
    endWaitsWithScope(scope, waiting, options.stopping)
    parseJsonBodies(scope, limits.bodyBytes)
    const described = options.openapi ? describedBy(`${gateway.prefix}/openapi.json`) : (answer: Answer) => answer
    scope.setErrorHandler((thrown, request, reply) => {
      const unexpected = (error: unknown): void => request.log.error({ err: error, requestId: request.id }, 'a request failed')
      const circumstances = { bodyBytesMax: limits.bodyBytes, contentType: request.headers['content-type'] }
      return send(reply, described(problemOfThrown(thrown, request.id, unexpected, circumstances)))
    })
    const routes: Route[] = []
    const bounded = boundedTo(limits.inFlight)
    for (const { route, handler } of handlersOf(gateway)) {
      routes.push(route)
      const { method, path: url } = route
      scope.route({ method, url, handler: bounded(handler), exposeHeadRoute: method === 'GET' })
    }
    if (options.unknownPaths ?? gateway.prefix !== '') answerUnknownPaths(scope, routes, gateway.prefix)
  }
}

function handlersOf(gateway: Gateway): readonly { readonly route: Route; readonly handler: Handler }[] {
  const { contracts, sides, openapi } = gateway.options
  const handlers = contracts.flatMap((contract) => {
    const side = sides.find((candidate) => candidate.contract.name === contract.name)
    const commands = Object.values(contract.commands).map((command) => {
      const route = routeOf(command)
      return { route, handler: commandHandler(gateway, compileCommand(command, side), route) }
    })
    const queries = Object.values(contract.queries).map((query) => {
      const route = routeOf(query)
      return { route, handler: queryHandler(gateway, query, side, route) }
    })
    return [...commands, ...queries]
  })
  const own = [{ route: get('/commands/:id'), handler: commandStatusHandler(gateway) }]
  return openapi ? [...handlers, ...own, { route: get('/openapi.json'), handler: documentHandler(openapi) }] : [...handlers, ...own]
}

function get(path: string): Route {
  return { method: 'GET', path, parameters: [] }
}

/** Whoever is told that a request was wrong is also told where it stands what is right (`service-desc`, RFC 8631). */
function describedBy(path: string): (answer: Answer) => Answer {
  const link = `<${path}>; rel="service-desc"`
  return (answer) => (answer.status < 500 ? { ...answer, headers: { ...answer.headers, link } } : answer)
}

function documentHandler(openapi: () => object): Handler {
  let text: string | undefined
  return () => jsonAnswer((text ??= JSON.stringify(openapi())))
}

/** Refuses what is over the bound at once: a request that waits for memory to free would make it worse. */
function boundedTo(inFlightMax: number): (handler: Handler) => RouteHandler {
  let inFlight = 0
  return (handler) => async (request, reply) => {
    if (inFlight >= inFlightMax) {
      throw new TwofoldError('OVERLOADED', `this instance has ${inFlightMax} requests in hand, which is all it takes`, {
        retryAfterSeconds: 1,
      })
    }
    inFlight += 1
    try {
      return payloadOf(reply, await handler(request, reply))
    } finally {
      inFlight -= 1
    }
  }
}

function answerUnknownPaths(scope: FastifyInstance, routes: readonly Route[], prefix: string): void {
  const answer = compileUnknownPaths(routes, prefix)
  scope.setNotFoundHandler((request, reply) => answer(request, reply))
  scope.addHook('onRequest', (request, reply, done) => (request.is404 ? answer(request, reply) : done()))
}

function endWaitsWithScope(scope: FastifyInstance, waiting: Waiting, stopping: AbortSignal | undefined): void {
  const stop = (): void => waiting.stop()
  if (stopping?.aborted) stop()
  stopping?.addEventListener('abort', stop, { once: true })
  scope.addHook('preClose', (done) => {
    stopping?.removeEventListener('abort', stop)
    stop()
    done()
  })
}
