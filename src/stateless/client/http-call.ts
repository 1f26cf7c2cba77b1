// One request, tried again while trying again is safe and may help.
import { errorAdvice, TwofoldError, type ErrorCode } from '../../errors.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'

/** An answer, read completely. `body` is undefined for an empty one. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

export interface HttpRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | undefined
  /** Ends all tries. */
  readonly signal: AbortSignal
}

export interface HttpOptions {
  readonly fetch: typeof fetch
  /** How often a request is tried again. */
  readonly retries: number
}

const RETRY = { minMs: 50, maxMs: 2000 }

/** A server may ask for longer; whoever calls waits for no more than this. */
const RETRY_AFTER_MS_MAX = 10_000

/** Passing troubles, unless the problem document says otherwise: a contract may give a rejection any status from 400 to 499. */
const TRIED_AGAIN = new Set([429, 502, 503, 504])

/**
 * @throws TwofoldError UNREACHABLE when no server answered, INTERNAL when what it answered is not the JSON it is said to be; the
 * signal's reason when it was aborted.
 */
export async function httpCall(request: HttpRequest, options: HttpOptions): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await once(request, options.fetch).catch((error: unknown) => {
      request.signal.throwIfAborted()
      if (error instanceof TwofoldError) throw error
      if (attempt <= options.retries) return undefined
      const reason = error instanceof Error ? causeOf(error) : String(error)
      throw new TwofoldError('UNREACHABLE', `${request.method} ${request.url} got no answer after ${attempt} tries (${reason})`, {
        cause: error,
      })
    })
    if (answer !== undefined && (attempt > options.retries || !isRetryable(answer))) return answer
    const askedMs = (answer ? (retryAfterSeconds(answer.headers) ?? 0) : 0) * 1000
    await pause(Math.max(Math.min(askedMs, RETRY_AFTER_MS_MAX), backoffMs(attempt, RETRY)), request.signal)
    request.signal.throwIfAborted()
  }
}

/** Whether this is the code of an error, and not of a rejection. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorAdvice, code)
}

/** The error that a problem document (RFC 9457) stands for. */
export function errorOf(answer: Answer): TwofoldError {
  const problem = (answer.body ?? {}) as {
    code?: string
    detail?: string
    title?: string
    commandId?: string
    errors?: TwofoldError['faults']
  }
  const code = problem.code !== undefined && isErrorCode(problem.code) ? problem.code : 'INTERNAL'
  return new TwofoldError(code, problem.detail ?? problem.title ?? `the server answered ${answer.status}`, {
    problem: answer.body,
    commandId: problem.commandId ?? answer.headers.get('twofold-command-id') ?? undefined,
    faults: problem.errors,
    retryAfterSeconds: retryAfterSeconds(answer.headers),
  })
}

function isRetryable({ status, body }: Answer): boolean {
  if (status < 400) return false
  const { retryable } = (body ?? {}) as { readonly retryable?: unknown }
  return typeof retryable === 'boolean' ? retryable : TRIED_AGAIN.has(status)
}

/** Retry-After is a number of seconds or a date (RFC 9110 §10.2.3); undefined where it is neither. */
function retryAfterSeconds(headers: Headers): number | undefined {
  const text = headers.get('retry-after') ?? ''
  if (/^\d+$/.test(text)) return Number(text)
  const seconds = Math.ceil((Date.parse(text) - Date.now()) / 1000)
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds)
}

async function once(request: HttpRequest, send: typeof fetch): Promise<Answer> {
  const { method, url, headers, body, signal } = request
  const response = await send(url, { method, headers, body: body ?? null, signal })
  return { status: response.status, headers: response.headers, body: bodyOf(await response.text(), response, request) }
}

function bodyOf(text: string, { ok, status, headers }: Response, { method, url }: HttpRequest): unknown {
  if (text === '' || !/[/+]json\b/.test(headers.get('content-type') ?? '')) return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    // A failure is told by its status; the body of a success is what was asked for.
    if (!ok) return undefined
    const commandId = headers.get('twofold-command-id') ?? undefined
    throw new TwofoldError('INTERNAL', `${method} ${url} was answered ${status} with a body that is not JSON`, { cause, commandId })
  }
}

/** fetch says only "fetch failed"; what failed is in the cause. */
function causeOf(error: Error): string {
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message
}
