// The body parser of the gateway's own scope: strict JSON in UTF-8. What stands for "the host's parser" is not touched.
import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { TwofoldError } from '../../errors.ts'
import { excerptOf } from './problem.ts'

/** Replaces the scope's parsers by one for `application/json`; everything else is then answered 415. */
export function parseJsonBodies(scope: FastifyInstance, bodyLimit: number): void {
  scope.removeAllContentTypeParsers()
  // 'error' refuses `__proto__` and `constructor.prototype`: a handler that merges such an input would change every object.
  const parse = scope.getDefaultJsonParser('error', 'error')
  scope.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit }, (request: FastifyRequest, bytes: Buffer, done) => {
    const coding = request.headers['content-encoding']
    if (coding !== undefined && coding !== 'identity')
      return done(
        new TwofoldError('UNSUPPORTED_MEDIA_TYPE', `the body is compressed (Content-Encoding: ${excerptOf(coding)}); send it as it is`),
      )
    if (bytes.length === 0) return done(null, undefined)
    // Decoding would put U+FFFD where bytes make no sense, and the text stored would not be the text sent.
    if (!isUtf8(bytes)) return done(new TwofoldError('MALFORMED_JSON', 'the body is not UTF-8'))
    const text = bytes.toString()
    return parse(request, text, (error, value) => (error ? done(malformed(text)) : done(null, value)))
  })
}

function malformed(text: string): TwofoldError {
  try {
    JSON.parse(text)
  } catch (error) {
    return new TwofoldError('MALFORMED_JSON', `the body is not JSON: ${(error as Error).message}`)
  }
  return new TwofoldError('MALFORMED_JSON', "the body must not hold fields named '__proto__', or 'prototype' inside 'constructor'")
}
