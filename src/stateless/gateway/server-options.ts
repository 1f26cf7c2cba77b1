// Options for a Fastify server of our own. A host that mounts the plugin keeps its own; these make answers complete where only
// the server, not a plugin, decides.
import type { FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import { send } from './answer.ts'
import { problemOfThrown } from './problem.ts'

/**
 * Path parameters may be as long as a key (255 bytes, each up to three characters when escaped; Fastify's own limit is 100), and
 * an address that cannot be decoded is answered with a problem document.
 */
export function gatewayServerOptions(): Pick<FastifyServerOptions, 'routerOptions' | 'frameworkErrors'> {
  return {
    routerOptions: { maxParamLength: 1024 },
    frameworkErrors(error, request: FastifyRequest, reply: FastifyReply) {
      send(
        reply,
        problemOfThrown(error, request.id, (thrown) => request.log.error({ err: thrown }, 'a request failed')),
      )
    },
  }
}
