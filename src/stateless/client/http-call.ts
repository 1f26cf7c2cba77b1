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
const TRIED_AGAIN = new Set([429, 502, 503, 504])

/** @throws TwofoldError UNREACHABLE when no server answered; the signal's reason when it was aborted. */
export async function httpCall(request: HttpRequest, options: HttpOptions): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await once(request, options.fetch).catch((error: unknown) => {
      request.signal.throwIfAborted()
      if (attempt <= options.retries) return undefined
      const reason = error instanceof Error ? causeOf(error) : String(error)
      throw new TwofoldError('UNREACHABLE', `${request.method} ${request.url} got no answer after ${attempt} tries (${reason})`, {
        cause: error,
      })
    })
    if (answer !== undefined && (!TRIED_AGAIN.has(answer.status) || attempt > options.retries)) return answer
    const asked = Number(answer?.headers.get('retry-after') ?? 0) * 1000
    await pause(Math.max(Number.isFinite(asked) ? Math.min(asked, 10_000) : 0, backoffMs(attempt, RETRY)), request.signal)
    request.signal.throwIfAborted()
  }
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
  const code: ErrorCode = problem.code !== undefined && problem.code in errorAdvice ? (problem.code as ErrorCode) : 'INTERNAL'
  const retryAfter = answer.headers.get('retry-after')
  return new TwofoldError(code, problem.detail ?? problem.title ?? `the server answered ${answer.status}`, {
    problem: answer.body,
    commandId: problem.commandId ?? answer.headers.get('twofold-command-id') ?? undefined,
    faults: problem.errors,
    retryAfterSeconds: retryAfter === null ? undefined : Number(retryAfter),
  })
}

async function once({ method, url, headers, body, signal }: HttpRequest, send: typeof fetch): Promise<Answer> {
  const response = await send(url, { method, headers, body: body ?? null, signal })
  const text = await response.text()
  const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '')
  return { status: response.status, headers: response.headers, body: text !== '' && isJson ? JSON.parse(text) : undefined }
}

/** fetch says only "fetch failed"; what failed is in the cause. */
function causeOf(error: Error): string {
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message
}
