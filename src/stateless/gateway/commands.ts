// A command over HTTP. States of a request: read → (replayed | admitted) → (carried directly | logged) → answered by its outcome
// or by 202. From "admitted" on it has an id; once it may have left this process it is never answered without naming that id.
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AnyCommand } from '../../contract/command.ts'
import type { Condition } from '../../contract/condition.ts'
import type { Claim, Envelope } from '../../contract/envelope.ts'
import type { Route } from '../../contract/route.ts'
import { isTwofoldError, TwofoldError, type ErrorCode } from '../../errors.ts'
import type { Appended, LogEntry, StoredClaim } from '../../ports/command-log.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'
import type { StoredOutcome } from '../../ports/outcomes.ts'
import type { Principal } from '../stateless.ts'
import { queuedAnswer, type CommandEntry, type Terms } from './accept-command.ts'
import type { Answer } from './answer.ts'
import { canonicalJson } from './canonical-json.ts'
import { claimOf, idempotencyKeyOf } from './idempotency-key.ts'
import { compileInput } from './input.ts'
import type { GatewayLimits, GatewayOptions, GatewayPorts } from './options.ts'
import { answerOfOutcome } from './outcome-answer.ts'
import { conditionOf } from './precondition.ts'
import { preferencesOf, type Preferences } from './prefer.ts'
import { WaitEnded, type Wait, type Waiting } from './waiting.ts'

/** What all routes of a gateway share. */
export interface Gateway {
  readonly ports: GatewayPorts
  readonly limits: GatewayLimits
  readonly options: GatewayOptions
  readonly waiting: Waiting
  /** Where the gateway is mounted; `''` at the root. */
  readonly prefix: string
}

/** Nothing was taken, because too much waits already. */
const REFUSES_NEW: ReadonlySet<ErrorCode> = new Set(['BACKLOG_FULL', 'KEY_BACKLOG_FULL', 'STORAGE_FULL', 'OVERLOADED'])

/** The handler of a command's route. */
export function commandHandler(
  gateway: Gateway,
  entry: CommandEntry,
  route: Route,
): (request: FastifyRequest, reply: FastifyReply) => Promise<Answer> {
  const { options } = gateway
  const readInput = compileInput(entry.command, route)
  return async (request, reply) => {
    if (options.accepting && !options.accepting()) {
      reply.header('connection', 'close')
      throw new TwofoldError('SHUTTING_DOWN', 'this instance is stopping and takes no new commands; another one will', {
        retryAfterSeconds: 1,
      })
    }
    const key = requiredKey(idempotencyKeyOf(request.headers['idempotency-key']), entry.command)
    const preferences = preferencesOf(request.headers['prefer'])
    const claimBy = key === undefined ? undefined : claimOfRequest(key, entry, request)
    const hasVersions = options.withoutVersions?.has(entry.command.service) !== true
    const runOn = (input: unknown): CommandRun => new CommandRun(gateway, entry, input, reply, preferences)
    let condition: Condition | undefined
    let input: unknown
    try {
      condition = conditionOf(request.headers, entry.command, hasVersions)
      input = readInput(request)
    } catch (fault) {
      if (claimBy === undefined) throw fault
      return runOn(undefined).unlessTakenBefore(fault, claimBy(await options.principal?.(request)))
    }
    const principal = options.principal && (await options.principal(request))
    await options.crash?.reach('accept.validated')
    return runOn(input).answer({ claim: claimBy?.(principal), condition, traceparent: traceparentOf(request) }, principal)
  }
}

/** The claim of a request, as soon as it is known who sent it. What the request says is taken at once: reading its input adds to its body. */
function claimOfRequest(key: string, { command }: CommandEntry, request: FastifyRequest): (principal: Principal | undefined) => Claim {
  const { method, url, headers } = request
  const body = canonicalJson(request.body === undefined ? {} : request.body)
  return (principal) => {
    const scope = { tenant: principal?.tenant, subject: principal?.subject, service: command.service, command: command.name }
    return claimOf(key, scope, { method, url, body, ifMatch: headers['if-match'], ifNoneMatch: headers['if-none-match'] })
  }
}

function requiredKey(key: string | undefined, { service, name, idempotency }: AnyCommand): string | undefined {
  if (key !== undefined || idempotency !== 'required') return key
  const message = `command '${service}.${name}' must be sent with an Idempotency-Key: a new one for each new request, the same for its retries`
  throw new TwofoldError('IDEMPOTENCY_KEY_REQUIRED', message)
}

/** One request on its way. */
class CommandRun {
  readonly #gateway: Gateway
  readonly #entry: CommandEntry
  readonly #input: unknown
  readonly #reply: FastifyReply
  readonly #preferences: Preferences
  /** How long the outcome is waited for; 0: answer 202 as soon as the command is durable. */
  readonly #waitMs: number
  #claim: Claim | undefined
  /** The claim's owner, once we know that this request repeats another. */
  #first: StoredClaim | undefined

  constructor(gateway: Gateway, entry: CommandEntry, input: unknown, reply: FastifyReply, preferences: Preferences) {
    this.#gateway = gateway
    this.#entry = entry
    this.#input = input
    this.#reply = reply
    this.#preferences = preferences
    this.#waitMs = waitMsOf(preferences, entry.command.respond, gateway.limits)
  }

  async answer(terms: Terms, principal: Principal | undefined): Promise<Answer> {
    const { claim } = terms
    this.#claim = claim
    // A repeated request must neither be checked again (a check may say something else by now) nor reach the engine.
    if (claim && (this.#waitMs > 0 || this.#entry.hasCheck)) {
      const used = await this.#gateway.ports.outcomes.claim(claim.hash)
      if (used) return this.#waited((wait) => this.#repeated(used, claim, wait))
      await this.#gateway.options.crash?.reach('accept.unclaimed')
    }
    const envelope = this.#entry.envelope(this.#input, this.#gateway.ports.ids.next(), terms)
    try {
      this.#gateway.ports.admission?.admit(envelope)
    } catch (refusal) {
      return this.#unlessRepeated(refusal, claim)
    }
    if (this.#entry.hasCheck) {
      const refusal = await this.#check(envelope, principal)
      if (refusal) return refusal
    }
    if (this.#waitMs === 0) return this.#accept(envelope)
    return this.#waited((wait) => this.#result(envelope, wait))
  }

  /**
   * The contract refuses the request. It may have been stricter only since a deploy: what was taken before is answered as it was then, because
   * to say that it is wrong would say that it had no effect.
   */
  async unlessTakenBefore(fault: unknown, claim: Claim): Promise<Answer> {
    const used = await this.#usedBefore(claim)
    if (used?.fingerprint !== claim.fingerprint) throw fault
    return this.#waited((wait) => this.#repeated(used, claim, wait))
  }

  async #usedBefore({ hash }: Claim): Promise<StoredClaim | undefined> {
    return this.#gateway.ports.outcomes.claim(hash).catch((error: unknown) => {
      this.#reply.log.warn({ err: error }, 'the claim cannot be read; the request is refused as if it were a new one')
      return undefined
    })
  }

  async #check(envelope: Envelope, principal: Principal | undefined): Promise<Answer | undefined> {
    let wait: Wait | undefined
    const signal = (): AbortSignal => {
      wait ??= this.#gateway.waiting.begin(this.#gateway.limits.waitMs)
      wait.whileConnected(this.#reply)
      return wait.signal
    }
    try {
      return await this.#entry.check(this.#input, envelope, { principal, signal })
    } finally {
      wait?.end()
    }
  }

  /** Durable, then 202. The answer is made first, so that what makes it cannot fail after the command was taken. */
  async #accept(envelope: Envelope): Promise<Answer> {
    const answer = this.#acceptedAnswer(envelope.id, envelope.keys[0])
    let appended: Appended
    try {
      appended = await this.#append(envelope, { answer: envelope.claim && answer })
    } catch (refusal) {
      return this.#unlessRepeated(refusal, envelope.claim)
    }
    if (appended.status === 'appended') return this.#applied(answer, false)
    return this.#waited((wait) => this.#repeated(appended.claim, envelope.claim, wait))
  }

  /**
   * Too much waits for a new command, but not for a repeated request, which adds nothing to it and is owed its first answer. The claim
   * of a request that is answered 202 is looked up only here: otherwise the append meets it, without a query of its own.
   */
  async #unlessRepeated(refusal: unknown, claim: Claim | undefined): Promise<Answer> {
    if (claim === undefined || !(refusal instanceof TwofoldError) || !REFUSES_NEW.has(refusal.code)) throw refusal
    const used = await this.#usedBefore(claim)
    if (!used) throw refusal
    return this.#waited((wait) => this.#repeated(used, claim, wait))
  }

  async #result(envelope: Envelope, wait: Wait): Promise<Answer> {
    const { direct } = this.#gateway.ports
    let begun = false
    if (direct?.reaches(envelope)) {
      const context = { waitMs: wait.remainingMs }
      const result = await direct.call(envelope, wait.signal, context).catch((error: unknown) => this.#doubt(error, envelope))
      await this.#gateway.options.crash?.reach('accept.called')
      if (result.status === 'finished') return this.#finished(result.outcome)
      if (result.status === 'claimed') return this.#repeated(result.claim, envelope.claim, wait)
      if (result.status === 'deferred') begun = result.begun === true
      if (result.status === 'held') return this.#outcomeOf(envelope.id, envelope.keys[0], wait)
    }
    let appended: Appended
    try {
      appended = await this.#append(envelope, { begun })
    } catch (error) {
      return this.#unlessFinished(error, envelope.id, wait)
    }
    // Our own claim: the direct call did take effect before we stopped waiting for it.
    if (appended.status === 'claimed' && appended.claim.commandId !== envelope.id)
      return this.#repeated(appended.claim, envelope.claim, wait)
    return this.#outcomeOf(envelope.id, envelope.keys[0], wait)
  }

  /** A command in doubt takes effect all the same: who waits gets its outcome, if it comes in time. */
  async #unlessFinished(error: unknown, commandId: string, wait: Wait): Promise<Answer> {
    if (!isTwofoldError(error, 'IN_DOUBT')) throw error
    wait.whileConnected(this.#reply)
    const outcome = await this.#find(commandId, wait.remainingMs, wait)
    if (outcome) return this.#finished(outcome)
    throw error
  }

  /** The owner did not answer in time, or not at all: the same id goes through the log, where it takes effect at most once. */
  #doubt(error: unknown, envelope: Envelope): DirectResult {
    if (!(error instanceof WaitEnded)) {
      this.#reply.log.warn({ err: error, commandId: envelope.id }, 'a direct call failed; the command goes through the log instead')
    }
    return { status: 'deferred', begun: true }
  }

  /** This request was made before, under another id: the first answer again, or that command's outcome. */
  async #repeated(first: StoredClaim, claim: Claim | undefined, wait: Wait): Promise<Answer> {
    if (first.fingerprint !== claim?.fingerprint) {
      const message = 'this Idempotency-Key was used for another request; use a new key for a new request'
      throw new TwofoldError('IDEMPOTENCY_KEY_REUSED', message, { commandId: first.commandId })
    }
    this.#first = first
    await this.#appendedAgain(first, claim, wait)
    if (first.answer && (this.#waitMs === 0 || first.answer.afterWait)) return this.#applied(first.answer, this.#waitMs > 0)
    // The first was not answered yet: whoever repeats it gets the same answer, but not before there is one.
    const unanswered = first.answer === undefined && this.#waitMs > 0
    if (unanswered && !(await this.#find(first.commandId, 0, wait))) {
      const message = 'the first request with this Idempotency-Key is still running; send it again in a moment'
      throw new TwofoldError('IDEMPOTENCY_KEY_IN_USE', message, { commandId: first.commandId, retryAfterSeconds: 1 })
    }
    return this.#outcomeOf(first.commandId, undefined, wait)
  }

  /** Where a claim is stored before its command, the first request may have ended in between. */
  async #appendedAgain({ commandId }: StoredClaim, { hash }: Claim, wait: Wait): Promise<void> {
    const { log } = this.#gateway.ports
    if (log.appendAgain === undefined || (await this.#find(commandId, 0, wait))) return
    await this.#named(commandId, () => log.appendAgain?.(hash, commandId))
  }

  /** Waits for the outcome of a durable command; 202 when it takes too long. */
  async #outcomeOf(commandId: string, homeKey: string | undefined, wait: Wait): Promise<Answer> {
    wait.whileConnected(this.#reply)
    // Who asked for an answer at once, and repeats a command that is not finished, does not wait for it now.
    const outcome = await this.#find(commandId, this.#waitMs === 0 ? 0 : wait.remainingMs, wait)
    if (outcome) return this.#finished(outcome)
    if (this.#first) return this.#applied(this.#first.answer ?? this.#lateAnswer(commandId, homeKey), this.#waitMs > 0)
    return this.#waitedInVain(commandId, this.#lateAnswer(commandId, homeKey), wait)
  }

  /**
   * The first request under its key is told 202, so that is what its repetitions are told, and not that it is still running: it is stored
   * before it is given. Not so where the client is gone: then nobody was told anything, and whoever comes again may have the outcome.
   */
  async #waitedInVain(commandId: string, answer: Answer, wait: Wait): Promise<Answer> {
    if (this.#claim === undefined || wait.clientIsGone) return this.#applied(answer, true)
    const { hash } = this.#claim
    const stored = await this.#gateway.ports.outcomes.answered(hash, commandId, { ...answer, afterWait: true }).catch((error: unknown) => {
      this.#reply.log.warn({ err: error, commandId }, 'the 202 cannot be stored; a repeated request is told that the first still runs')
      return true
    })
    const outcome = stored ? undefined : await this.#find(commandId, 0, wait)
    return outcome ? this.#finished(outcome) : this.#applied(answer, true)
  }

  async #find(commandId: string, waitMs: number, wait: Wait): Promise<StoredOutcome | undefined> {
    const { outcomes } = this.#gateway.ports
    try {
      return await outcomes.find(commandId, waitMs, wait.signal.aborted ? undefined : wait.signal)
    } catch (error) {
      if (wait.signal.aborted) return undefined
      // The command is durable; only its outcome cannot be asked for. 202 is the truth, and the client may ask later.
      this.#reply.log.warn({ err: error, commandId }, 'the outcome cannot be read; answered 202')
      return undefined
    }
  }

  async #append(envelope: Envelope, how: Pick<LogEntry, 'answer' | 'begun'>): Promise<Appended> {
    const { crash } = this.#gateway.options
    const append = async (): Promise<Appended> => {
      await crash?.reach('accept.append')
      const appended = await this.#gateway.ports.log.append({ envelope, ...how })
      await crash?.reach('accept.appended')
      return appended
    }
    return this.#named(envelope.id, append, how.begun)
  }

  /** What fails here names the command where it may have been stored all the same, or where it can be asked for whether it was. */
  async #named<Result>(commandId: string, store: () => Promise<Result> | undefined, begun = false): Promise<Result> {
    try {
      return (await store()) as Result
    } catch (error) {
      if (begun && error instanceof TwofoldError && error.code !== 'IN_DOUBT') {
        const message = `${error.message}; its owner may have begun the command before: ask for it by its id`
        throw new TwofoldError('IN_DOUBT', message, { cause: error, commandId, retryAfterSeconds: error.retryAfterSeconds ?? 1 })
      }
      if (error instanceof TwofoldError) {
        const named = error.code === 'IN_DOUBT' || this.#gateway.ports.log.features.findsById ? commandId : undefined
        const retryAfterSeconds = error.retryAfterSeconds ?? 1
        throw new TwofoldError(error.code, error.message, { cause: error, commandId: named, retryAfterSeconds })
      }
      this.#reply.log.error({ err: error, commandId }, 'the command log failed')
      throw new TwofoldError('IN_DOUBT', 'the command may have been stored; ask for it by its id, or send it again', {
        cause: error,
        commandId,
        retryAfterSeconds: 1,
      })
    }
  }

  #acceptedAnswer(commandId: string, homeKey: string | undefined): Answer {
    const key = homeKey ?? this.#entry.homeKey(this.#input, commandId)
    return this.#entry.accepted(this.#input, commandId, key, this.#locationOf(commandId))
  }

  /** The command is durable by now: a service that fails to make its optimistic answer must not hide the command's id. */
  #lateAnswer(commandId: string, homeKey: string | undefined): Answer {
    try {
      return this.#acceptedAnswer(commandId, homeKey)
    } catch (error) {
      this.#reply.log.error({ err: error, commandId }, 'the optimistic answer could not be made')
      return queuedAnswer(commandId, this.#locationOf(commandId))
    }
  }

  #finished(outcome: StoredOutcome): Answer {
    return this.#applied(answerOfOutcome(this.#entry.command, outcome, this.#locationOf(outcome.id)), true)
  }

  /** Adds what belongs to this very request: which preferences were honoured, and whether it repeats an earlier one. */
  #applied(answer: Answer, waited: boolean): Answer {
    const { respondAsync, wait } = this.#preferences
    const applied: string[] = []
    if (respondAsync && answer.status === 202) applied.push('respond-async')
    if (wait !== undefined && (waited || this.#waitMs === 0)) applied.push(`wait=${Math.floor(this.#waitMs / 1000)}`)
    if (applied.length === 0 && !this.#first) return answer
    const headers: Record<string, string> = { ...answer.headers }
    if (applied.length > 0) headers['preference-applied'] = applied.join(', ')
    if (this.#first) headers['idempotency-replayed'] = 'true'
    return { ...answer, headers }
  }

  #locationOf(commandId: string): string {
    return `${this.#gateway.prefix}/commands/${commandId}`
  }

  async #waited<Result>(work: (wait: Wait) => Promise<Result>): Promise<Result> {
    const wait = this.#gateway.waiting.begin(this.#waitMs > 0 ? this.#waitMs : this.#gateway.limits.waitMs)
    try {
      return await work(wait)
    } finally {
      wait.end()
    }
  }
}

/** RFC 7240: with `respond-async` alone the answer is 202 at once; a `wait` says how long the outcome is waited for first. */
function waitMsOf({ respondAsync, wait }: Preferences, respond: 'result' | 'accepted', limits: GatewayLimits): number {
  if (wait !== undefined) return Math.min(wait * 1000, limits.waitMsMax)
  return respondAsync || respond === 'accepted' ? 0 : limits.waitMs
}

/** The trace context of the request (W3C), handed on as it is; one that is malformed is none. */
function traceparentOf(request: FastifyRequest): string | undefined {
  const given = request.headers['traceparent']
  return typeof given === 'string' && TRACEPARENT.test(given) ? given : undefined
}

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
