// What an orchestrator asks: is the process alive, and should it get traffic?
import type { FastifyInstance } from 'fastify'

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
}
