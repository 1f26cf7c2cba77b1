// An answer as plain data, so that a first answer can be stored and given again byte for byte.
import type { FastifyReply } from 'fastify'
import type { StoredAnswer } from '../../ports/command-log.ts'

/** The media type of every answer that is not a problem. */
export const JSON_TYPE = 'application/json; charset=utf-8'

/** An answer of the gateway; `body` is the text that is sent, `''` for none. */
export type Answer = StoredAnswer

/** An answer of 200 with JSON text. */
export function jsonAnswer(body: string, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status: 200, headers: { 'content-type': JSON_TYPE, ...headers }, body }
}

/** Sends an answer as it is. */
export function send(reply: FastifyReply, answer: Answer): FastifyReply {
  return reply.send(payloadOf(reply, answer))
}

/** Sets an answer's status and headers; what is returned is its payload, for a handler to return it or for `send`. */
export function payloadOf(reply: FastifyReply, { status, headers, body }: Answer): string | undefined {
  reply.code(status).headers(headers)
  return body === '' ? undefined : body
}
