// Options for a Fastify server of our own. A host that mounts the plugin keeps its own; these make answers complete where only
// the server, not a plugin, decides.
import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import { TwofoldError } from '../../errors.ts'
import { send } from './answer.ts'
import { problemOf, problemOfThrown } from './problem.ts'

/**
 * Path parameters may be as long as a key (255 bytes, each up to three characters when escaped; Fastify's own limit is 100), and
 * what cannot be decoded, an address or a whole request, is answered with a problem document.
 */
export function gatewayServerOptions(): Pick<FastifyServerOptions, 'routerOptions' | 'frameworkErrors' | 'clientErrorHandler'> {
  return {
    routerOptions: { maxParamLength: 1024 },
    frameworkErrors(error, request: FastifyRequest, reply: FastifyReply) {
      send(
        reply,
        problemOfThrown(error, request.id, (thrown) => request.log.error({ err: thrown, requestId: request.id }, 'a request failed')),
      )
    },
    clientErrorHandler: answerBrokenRequest,
  }
}

/** Answers `Expect` with anything but `100-continue` (RFC 9110 §10.1.1), which Node would answer without a body. */
export function refuseExpectations(server: Server): void {
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const { status, headers, body } = problemOf(new TwofoldError('BAD_REQUEST', 'only 100-continue can be expected of this server'), 417)
    response.writeHead(status, headers).end(body)
  })
}

const brokenRequests: Readonly<Record<string, { readonly status: number; readonly detail: string }>> = {
  HPE_HEADER_OVERFLOW: { status: 431, detail: 'the headers are longer than this server takes' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, detail: 'the request took too long to arrive' },
}

/** What never became a request: there is only the socket to answer on. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const { status, detail } = brokenRequests[error.code ?? ''] ?? { status: 400, detail: 'this is not an HTTP request' }
  const { headers, body } = problemOf(new TwofoldError('BAD_REQUEST', detail), status)
  const all = { ...headers, 'content-length': String(Buffer.byteLength(body)), connection: 'close' }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`)
  socket.end([`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, '', body].join('\r\n'))
}
