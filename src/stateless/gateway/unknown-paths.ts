// Paths and methods that nothing stands under: 404, 405 with Allow, and OPTIONS.
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Route } from '../../contract/route.ts'
import { TwofoldError } from '../../errors.ts'
import { send } from './answer.ts'
import { problemOf } from './problem.ts'

/** Answers a request that no route took. It runs before the body is read: nobody wants that body. */
export function compileUnknownPaths(routes: readonly Route[], prefix: string): (request: FastifyRequest, reply: FastifyReply) => void {
  const methodsByPath = Map.groupBy(routes, ({ path }) => path.replaceAll(/:\w+/g, ':'))
  const known = [...methodsByPath.values()].map((group) => ({ matches: matching(prefix + (group[0]?.path ?? '')), group }))
  return (request, reply) => {
    const path = request.url.split('?', 1)[0] ?? ''
    const there = known.flatMap(({ matches, group }) => (matches.test(path) ? group : []))
    const allow = allowOf(there)
    if (there.length === 0) {
      send(reply, problemOf(new TwofoldError('NOT_FOUND', `there is nothing under ${request.method} ${path.slice(0, 200)}`)))
    } else if (request.method === 'OPTIONS') {
      send(reply, { status: 204, headers: { allow }, body: '' })
    } else {
      reply.header('allow', allow)
      send(reply, problemOf(new TwofoldError('METHOD_NOT_ALLOWED', `${path.slice(0, 200)} takes ${allow}, not ${request.method}`)))
    }
  }
}

function matching(path: string): RegExp {
  const pattern = path
    .split(/(:\w+)/)
    .map((part) => (part.startsWith(':') ? '[^/]*' : part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)))
  return new RegExp(`^${pattern.join('')}$`)
}

function allowOf(routes: readonly Route[]): string {
  const methods = routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
  return [...new Set([...methods, 'OPTIONS'])].toSorted().join(', ')
}
