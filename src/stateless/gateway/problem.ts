// Every error as a problem document (RFC 9457), the HTTP server's own errors included. No stack and no inner message ever leaves.
import { STATUS_CODES } from 'node:http'
import { TwofoldError, type ErrorCode } from '../../errors.ts'
import { kebab } from '../../contract/route.ts'
import type { Answer } from './answer.ts'
import { statusOf } from './status-of.ts'

/** The media type of problem documents. */
const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

/** The most faults that one answer lists: a body of 1 MiB can hold 100,000 of them. */
const FAULTS_LISTED_MAX = 100

/** The problem document of an error, with its headers; `more` are members of its own (RFC 9457 §3.2). */
export function problemOf(
  error: TwofoldError,
  status: number = statusOf[error.code],
  more: Readonly<Record<string, unknown>> = {},
): Answer {
  const retryable = error.retry === 'backoff'
  const document = {
    type: `urn:twofold:error:${error.code.toLowerCase().replaceAll('_', '-')}`,
    title: error.code === 'BAD_REQUEST' ? (STATUS_CODES[status] ?? 'Bad Request') : sentence(error.code.toLowerCase().replaceAll('_', ' ')),
    status,
    detail: error.message,
    code: error.code,
    retryable,
    commandId: error.commandId,
    errors: error.faults?.slice(0, FAULTS_LISTED_MAX),
    ...more,
  }
  const headers: Record<string, string> = { 'content-type': PROBLEM_TYPE }
  const seconds = error.retryAfterSeconds ?? (retryable ? 1 : undefined)
  if (seconds !== undefined) headers['retry-after'] = String(Math.max(1, Math.ceil(seconds)))
  if (error.code === 'UNSUPPORTED_MEDIA_TYPE') headers['accept-post'] = 'application/json'
  if (error.commandId !== undefined) headers['twofold-command-id'] = error.commandId
  return { status, headers, body: JSON.stringify(document) }
}

/** What a business rejection is told with. `data` is JSON text. `commandId` and `location` are missing where nothing was recorded. */
interface RejectionProblem {
  readonly service: string
  readonly code: string
  readonly status: number
  readonly data: string | undefined
  readonly commandId?: string
  readonly location?: string
}

/** The problem document of a rejection: the contract's status and code, and its data as it was stored. */
export function rejectionProblem(rejection: RejectionProblem): Answer {
  const words = kebab(rejection.code).replaceAll('-', ' ')
  const document = {
    type: `urn:twofold:rejection:${rejection.service}:${kebab(rejection.code)}`,
    title: sentence(words),
    status: rejection.status,
    detail: `the command was rejected: ${words}`,
    instance: rejection.location,
    code: rejection.code,
    retryable: false,
    commandId: rejection.commandId,
  }
  const head = JSON.stringify(document)
  const body = rejection.data === undefined ? head : `${head.slice(0, -1)},"data":${rejection.data}}`
  return { status: rejection.status, headers: { 'content-type': PROBLEM_TYPE }, body }
}

/** The error for a set of faults in an input. */
export function invalidInput(faults: readonly { readonly path: string; readonly message: string }[]): TwofoldError {
  const more = faults.length > FAULTS_LISTED_MAX ? `; the first ${FAULTS_LISTED_MAX} are listed` : ''
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`
  return new TwofoldError('INVALID_INPUT', `the input has ${count}, see 'errors'${more}`, { faults })
}

const codesOfFastify: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'MALFORMED_JSON',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'MALFORMED_JSON',
  FST_ERR_CTP_BODY_TOO_LARGE: 'BODY_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'UNSUPPORTED_MEDIA_TYPE',
  FST_ERR_NOT_FOUND: 'NOT_FOUND',
}

/** What is known of the request where something was thrown. */
interface Circumstances {
  readonly bodyBytesMax?: number | undefined
  readonly contentType?: string | undefined
}

function sentenceOf(code: ErrorCode, { bodyBytesMax, contentType }: Circumstances): string | undefined {
  if (code === 'BODY_TOO_LARGE') {
    const limit = bodyBytesMax === undefined ? '' : `the ${bodyBytesMax} bytes that `
    return `the body is larger than ${limit}this service takes; send less, or keep files elsewhere and send their address`
  }
  if (code !== 'UNSUPPORTED_MEDIA_TYPE') return undefined
  const given = contentType === undefined ? 'the body has no Content-Type' : `the Content-Type of the body is ${excerptOf(contentType)}`
  return `${given}; send it as application/json`
}

/** What was given, for a message: quoted, so that it shows where it begins and ends, and cut, so that nobody is sent all of it back. */
export function excerptOf(given: string): string {
  return JSON.stringify(given.length > 100 ? `${given.slice(0, 100)}…` : given)
}

/**
 * The answer to anything that was thrown. Errors of the HTTP server and of the host's hooks keep their 4xx status; whatever else
 * is not a `TwofoldError` becomes 500 without its words, and `unexpected` is called with it.
 */
export function problemOfThrown(
  thrown: unknown,
  requestId: string,
  unexpected: (thrown: unknown) => void,
  circumstances: Circumstances = {},
): Answer {
  if (thrown instanceof TwofoldError && thrown.code.startsWith('DATABASE_')) {
    // Their words name servers and users, which are no caller's business.
    unexpected(thrown)
    return problemOf(new TwofoldError('UNAVAILABLE', 'the database cannot be used at the moment'))
  }
  if (thrown instanceof TwofoldError && statusOf[thrown.code] !== 500) return problemOf(thrown)
  const { statusCode, code, message, headers } = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as Record<string, unknown>
  const known = typeof code === 'string' && Object.hasOwn(codesOfFastify, code) ? codesOfFastify[code] : undefined
  if (known !== undefined) return problemOf(new TwofoldError(known, sentenceOf(known, circumstances) ?? String(message)))
  if (!(thrown instanceof TwofoldError) && typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    const problem = problemOf(new TwofoldError('BAD_REQUEST', String(message)), statusCode)
    return { ...problem, headers: { ...headersOf(headers), ...problem.headers } }
  }
  unexpected(thrown)
  return problemOf(new TwofoldError('INTERNAL', `the request failed; the service has logged why, under request ${requestId}`))
}

/** Headers that an error brings along, such as `WWW-Authenticate` of a 401. */
function headersOf(headers: unknown): Record<string, string> {
  const entries = typeof headers === 'object' && headers !== null ? Object.entries(headers) : []
  return Object.fromEntries(entries.map(([name, value]) => [name.toLowerCase(), String(value)]))
}

function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1)
}
