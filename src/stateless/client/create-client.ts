// Typed callers from a contract. A rejection is a value, because the business expects it; what nobody expects is thrown.
import { randomUUID } from 'node:crypto'
import type { AnyCommand } from '../../contract/command.ts'
import type { AnyContract } from '../../contract/define-contract.ts'
import type { Outcome, Succeeded } from '../../contract/outcome.ts'
import type { AnyQuery } from '../../contract/query.ts'
import { TwofoldError } from '../../errors.ts'
import { pause } from '../../runtime/backoff.ts'
import type { Accepted, CallOptions, Client, QueryOptions, WaitOptions } from './calls.ts'
import { fillRoute } from './fill-route.ts'
import { errorOf, httpCall, isErrorCode, type Answer, type HttpOptions } from './http-call.ts'

/** Where the service is, and how it is called. */
export interface ClientOptions {
  /** Where the service is, with the prefix it is mounted under: `https://shop.example/api`. */
  readonly url: string
  /** Sent with every request, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * How often a request is tried again, with the same Idempotency-Key: after a network failure, and after an answer that says
   * `retryable`, or says nothing about that and is 429, 502, 503 or 504. Default 3.
   */
  readonly retries?: number | undefined
  /** Default: the platform's. */
  readonly fetch?: typeof fetch | undefined
}

type AnyOutcome = Outcome<unknown, Record<string, unknown>>
type AnyAccepted = Accepted<unknown, unknown, Record<string, unknown>>

const TIMEOUT_MS = 30_000

/** The longest a server is asked to hold one request open, in seconds. */
const WAIT_SECONDS_MAX = 30

/** An outcome is asked for once in this time at most, however soon the server answers. */
const PAUSE_MS = 1000

/**
 * Makes a function for every command and query of a contract.
 * @throws TwofoldError from the calls: the server's code, or UNREACHABLE, OUTCOME_TIMEOUT (names the command's id), COMMAND_DEAD,
 * INTERNAL for an answer that nobody can read. Before anything is sent: INVALID_INPUT for a field that the path cannot carry,
 * INVALID_IDEMPOTENCY_KEY.
 */
export function createClient<C extends AnyContract>(contract: C, options: ClientOptions): Client<C> {
  const caller = new Caller(options)
  const commands = Object.values(contract.commands).map((command) => [
    command.name,
    (input: Record<string, unknown>, call?: CallOptions) => caller.send(command, input, call ?? {}),
  ])
  const queries = Object.values(contract.queries).map((query) => [
    query.name,
    (input: Record<string, unknown>, call?: QueryOptions) => caller.ask(query, input, call ?? {}),
  ])
  return Object.fromEntries([...commands, ...queries]) as Client<C>
}

/** The reply, or a throw: for scripts and tests, where a rejection is a mistake. @throws TwofoldError REJECTED */
export function unwrap<Reply>(
  outcome: Succeeded<Reply> | { readonly status: 'rejected'; readonly code: string; readonly data: unknown; readonly commandId: string },
): Reply {
  if (outcome.status === 'succeeded') return outcome.reply
  throw new TwofoldError('REJECTED', `the command was rejected: ${outcome.code}`, { problem: outcome.data, commandId: outcome.commandId })
}

class Caller {
  readonly #url: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #http: HttpOptions

  constructor({ url, headers, retries, fetch: given }: ClientOptions) {
    this.#url = url.replace(/\/+$/, '')
    this.#headers = headers ?? {}
    this.#http = { fetch: given ?? fetch, retries: retries ?? 3 }
  }

  async send(command: AnyCommand, input: Record<string, unknown>, options: CallOptions): Promise<AnyOutcome | AnyAccepted> {
    const respond = options.respond ?? command.respond
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
    const endsAt = performance.now() + timeoutMs
    const { method, path, rest } = fillRoute(command, input)
    const headers: Record<string, string> = {
      'idempotency-key': keyHeader(options.idempotencyKey ?? randomUUID()),
      prefer: respond === 'accepted' ? 'respond-async' : `wait=${waitSeconds(timeoutMs)}`,
    }
    if (options.ifMatch !== undefined) headers['if-match'] = `"${options.ifMatch}"`
    const body = Object.keys(rest).length > 0 ? JSON.stringify(rest) : undefined
    const answer = await this.#call(method, path, { headers, body, timeoutMs, signal: options.signal })
    const commandId = answer.headers.get('twofold-command-id') ?? ''
    if (respond === 'result' && isRunning(answer)) return this.#outcome(commandId, { timeoutMs, signal: options.signal }, endsAt)
    if (answer.status === 202) {
      const optimistic = command.optimistic && answer.body
      return { status: 'accepted', commandId, optimistic, outcome: (wait = {}) => this.#outcome(commandId, wait) }
    }
    const outcome = immediateOutcome(command, commandId, answer)
    if (respond === 'result' || outcome.status === 'rejected') return outcome
    return { status: 'accepted', commandId, optimistic: undefined, outcome: () => Promise.resolve(outcome) }
  }

  async ask(query: AnyQuery, input: Record<string, unknown>, options: QueryOptions): Promise<unknown> {
    const { path, rest } = fillRoute(query, input)
    const search = new URLSearchParams()
    for (const [name, value] of Object.entries(rest)) {
      for (const each of Array.isArray(value) ? value : [value]) if (each !== undefined) search.append(name, String(each))
    }
    const headers: Record<string, string> = options.after === undefined ? {} : { 'twofold-consistency-token': options.after }
    const answer = await this.#call('GET', search.size > 0 ? `${path}?${search.toString()}` : path, { headers, ...options })
    if (answer.status !== 200) throw errorOf(answer)
    return answer.body
  }

  /** Asks for the outcome until it is there or the time is over; each request waits at the server. */
  async #outcome(
    commandId: string,
    { timeoutMs = TIMEOUT_MS, signal }: WaitOptions,
    endsAt = performance.now() + timeoutMs,
  ): Promise<AnyOutcome> {
    while (performance.now() < endsAt) {
      const askedAt = performance.now()
      const leftMs = endsAt - askedAt
      const path = `/commands/${commandId}?wait=${waitSeconds(leftMs)}`
      const answer = await this.#call('GET', path, { headers: {}, timeoutMs: leftMs, signal }).catch((error: unknown) => {
        if (error instanceof TwofoldError && error.code === 'OUTCOME_TIMEOUT') return undefined
        throw error
      })
      if (answer !== undefined && answer.status !== 200) throw errorOf(answer)
      const outcome = answer && finalOutcome(commandId, answer.body as StatusDocument)
      if (outcome !== undefined) return outcome
      // A server that stops, or has a shorter patience, answers at once: it must not be asked as fast as it can answer.
      await pause(Math.ceil(Math.min(PAUSE_MS + askedAt, endsAt) - performance.now()), signal)
      signal?.throwIfAborted()
    }
    throw new TwofoldError(
      'OUTCOME_TIMEOUT',
      `command ${commandId} has no outcome after ${timeoutMs} ms; it goes on, ask GET /commands/${commandId}`,
      { commandId },
    )
  }

  async #call(
    method: string,
    path: string,
    given: { headers: Record<string, string>; body?: string | undefined; timeoutMs?: number | undefined; signal?: AbortSignal | undefined },
  ): Promise<Answer> {
    const timeoutMs = given.timeoutMs ?? TIMEOUT_MS
    // The server's own wait ends first; the second on top is for the way.
    const timeout = AbortSignal.timeout(Math.max(1, Math.round(timeoutMs)) + 1000)
    const signal = given.signal ? AbortSignal.any([given.signal, timeout]) : timeout
    const headers = { ...this.#headers, ...given.headers, ...(given.body === undefined ? {} : { 'content-type': 'application/json' }) }
    try {
      return await httpCall({ method, url: this.#url + path, headers, body: given.body, signal }, this.#http)
    } catch (error) {
      if (!timeout.aborted || given.signal?.aborted) throw error
      throw new TwofoldError('OUTCOME_TIMEOUT', `${method} ${path} had no answer after ${Math.round(timeoutMs)} ms`, { cause: error })
    }
  }
}

/** `GET /commands/{id}`. */
interface StatusDocument {
  readonly status: 'queued' | 'running' | 'succeeded' | 'rejected' | 'dead'
  readonly reply?: unknown
  readonly rejection?: { readonly code: string; readonly data?: unknown }
  readonly version?: number
  readonly consistencyToken?: string
}

/** Also where the key is in use: an earlier try of this very request got there, and only its answer was lost. */
function isRunning({ status, body }: Answer): boolean {
  return status === 202 || (status === 409 && (body as { readonly code?: string } | undefined)?.code === 'IDEMPOTENCY_KEY_IN_USE')
}

function finalOutcome(commandId: string, document: StatusDocument): AnyOutcome | undefined {
  const { status, reply, rejection, version, consistencyToken } = document
  const token = consistencyToken === undefined ? {} : { consistencyToken }
  if (status === 'succeeded') return { status, reply, version: version ?? 0, commandId, ...token }
  const code = rejection?.code ?? ''
  if (status === 'rejected' && isErrorCode(code)) {
    const message = `command ${commandId} has changed nothing: ${code.toLowerCase().replaceAll('_', ' ')}`
    throw new TwofoldError(code, message, { commandId, problem: document })
  }
  if (status === 'rejected') return { status, code, data: rejection?.data, commandId, ...token }
  if (status === 'dead')
    throw new TwofoldError('COMMAND_DEAD', `command ${commandId} has failed for good; an operator decides what becomes of it`, {
      commandId,
      problem: document,
    })
  return undefined
}

function immediateOutcome(command: AnyCommand, commandId: string, answer: Answer): AnyOutcome {
  const consistencyToken = answer.headers.get('twofold-consistency-token')
  const token = consistencyToken === null ? {} : { consistencyToken }
  if (answer.status === 200 || answer.status === 204) {
    // What stands between may make the tag weak, or append how it compressed the body.
    const [, version] = /^(?:W\/)?"(\d+)/.exec(answer.headers.get('etag') ?? '') ?? []
    return { status: 'succeeded', reply: answer.body, version: Number(version ?? 0), commandId, ...token }
  }
  const problem = answer.body as { readonly code?: string; readonly data?: unknown } | undefined
  if (problem?.code !== undefined && Object.hasOwn(command.rejections, problem.code)) {
    return { status: 'rejected', code: problem.code, data: problem.data, commandId, ...token }
  }
  throw errorOf(answer)
}

/** A string of structured fields (RFC 8941 §3.3.3), as far as the server takes it for a key. */
function keyHeader(key: string): string {
  if (/^[\x21-\x7e]{1,255}$/.test(key)) return `"${key.replaceAll(/["\\]/g, '\\$&')}"`
  throw new TwofoldError(
    'INVALID_IDEMPOTENCY_KEY',
    `an Idempotency-Key is 1 to 255 visible ASCII characters; given was ${JSON.stringify(key.slice(0, 300))}`,
  )
}

function waitSeconds(leftMs: number): number {
  return Math.max(1, Math.min(WAIT_SECONDS_MAX, Math.floor(leftMs / 1000)))
}
