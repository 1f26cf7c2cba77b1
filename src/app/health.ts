// What an orchestrator asks: is the process alive, and should it get traffic?
import type { FastifyInstance, FastifyReply } from 'fastify'
import { TwofoldError } from '../errors.ts'
import { send } from '../stateless/gateway/answer.ts'
import { problemOf } from '../stateless/gateway/problem.ts'

/** Why a process is not ready, or undefined when it is. */
export type Readiness = () => string | undefined

/** `GET /livez`: the event loop turns. `GET /readyz`: 200 when everything has started and nothing is stopping, 503 otherwise. */
export function addHealthRoutes(server: FastifyInstance, readiness: Readiness): void {
  server.get('/livez', { logLevel: 'silent' }, () => ({ status: 'alive' }))
  server.get('/readyz', { logLevel: 'silent' }, (_request, reply) => {
    const reason = readiness()
    if (reason === undefined) return reply.send({ status: 'ready' })
    return reply.code(503).header('retry-after', '1').send({ status: 'not ready', reason })
  })
  for (const url of ['/livez', '/readyz']) {
    const method = ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
    server.route({ method, url, logLevel: 'silent', handler: (request, reply) => onlyRead(request.method, url, reply) })
  }
}

function onlyRead(method: string, url: string, reply: FastifyReply): FastifyReply {
  const allow = 'GET, HEAD, OPTIONS'
  if (method === 'OPTIONS') return send(reply, { status: 204, headers: { allow }, body: '' })
  return send(reply.header('allow', allow), problemOf(new TwofoldError('METHOD_NOT_ALLOWED', `${url} takes ${allow}, not ${method}`)))
}
