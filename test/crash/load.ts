// Clients of the ledger: each does one thing after the other, drawn from a seed, and asks again, under the same Idempotency-Key and at
// another instance, where it gets no answer. A part of the requests has no key: there an answer that does not come is never known.
import { until, type Program } from '../e2e/program.ts'
import { History } from '../../src/testing/history.ts'

/** What a client was told about one operation. */
export interface Told {
  readonly op: string
  readonly client: string
  readonly key: string
  /** `accepted`: durable; the client did not wait for the outcome. */
  readonly status: 'accepted' | 'succeeded' | 'rejected'
  readonly commandId: string
  /** Under which it may be sent again, and what it was answered first. Undefined: it had none, or no one answer. */
  readonly repeat: { readonly request: Request; readonly answer: Answer } | undefined
}

export interface Answer {
  readonly status: number
  readonly body: string
}

interface Request {
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: string
}

interface Received extends Answer {
  readonly headers: Headers
}

const CLIENTS = 6
const ANSWER_MS = 3000
/** An operation without an answer after so long is a fault of its own: something is stuck. */
const OPERATION_MS = 180_000

const ACCOUNTS = ['a-1', 'a-2', 'a-3', 'a-4', 'a-5', 'a-6']
const WALLETS = ['w-1', 'w-2', 'w-3', 'w-4', 'w-5', 'w-6', 'w-7', 'w-8']
/** Answered 202 as soon as they are durable; their outcome is not waited for. */
const ACCEPTED = new Set(['deposit', 'stumble', 'fall'])

const BOOKS = ['b-1', 'b-2', 'b-3', 'b-4', 'b-5', 'b-6']
const REGISTERS = ['r-1', 'r-2', 'r-3', 'r-4', 'r-5', 'r-6', 'r-7', 'r-8']

/** Small, fast and repeatable: mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export class Load {
  /** Of the registers, for linearizability. */
  readonly history = new History()
  /** In the order of the answers. */
  readonly told: Told[] = []
  /** Sent, and never answered. */
  readonly unknown: string[] = []
  /** When each request was sent, and when it was answered or lost; milliseconds since 1970. */
  readonly #requests: { readonly from: number; to: number }[] = []
  readonly #firstAddress = Promise.withResolvers<void>()
  readonly #addresses: string[] = []
  readonly #running: Promise<unknown>
  #stopped = false

  constructor(seed: number) {
    this.#running = Promise.all(Array.from({ length: CLIENTS }, (_, client) => this.#client(client, randomOf(seed * CLIENTS + client))))
    this.#running.catch(() => undefined)
  }

  /** Another instance can be asked, until it ends: its port may be somebody else's then. */
  add(address: string, { child }: Program): void {
    if (child.exitCode !== null || child.signalCode !== null) return
    this.#addresses.unshift(address)
    this.#firstAddress.resolve()
    child.once('exit', () => this.#addresses.splice(this.#addresses.indexOf(address), 1))
  }

  /** How many requests had been sent to an instance and were not answered at that time, in milliseconds since 1970. */
  inFlightAt(time: number): number {
    return this.#requests.filter(({ from, to }) => from <= time && to >= time).length
  }

  /** Waits until so many more operations are answered. Rejects where a client did not get on. */
  async goesOn(answers: number, timeoutMs: number): Promise<void> {
    const count = this.told.length + answers
    await Promise.race([until('the load goes on', () => this.told.length >= count, timeoutMs), this.#running])
  }

  /** Every client ends what it is at. Rejects where one did not get on. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  /** Sends a request once more, until it is answered. */
  again(request: Request): Promise<Received> {
    return this.#answered(request, 0)
  }

  async #client(client: number, random: () => number): Promise<void> {
    const seen = new Map<string, string>()
    const pick = (keys: readonly string[]): string => keys[Math.floor(random() * keys.length)] ?? ''
    await this.#firstAddress.promise
    for (let count = 0; !this.#stopped; count += 1) {
      const op = `${client}-${count}`
      const kind = random()
      if (kind < 0.1) await this.#run(client, op, { f: 'book', key: pick(BOOKS), keyed: random() < 0.7 })
      else if (kind < 0.2) await this.#shift(client, op, pick(BOOKS), pick(BOOKS))
      else if (kind < 0.4) await this.#run(client, op, { f: 'credit', key: pick(ACCOUNTS), keyed: random() < 0.5 })
      else if (kind < 0.55) await this.#run(client, op, { f: 'deposit', key: pick(ACCOUNTS), keyed: random() < 0.7 })
      else if (kind < 0.7) await this.#transfer(client, op, pick(WALLETS), pick(WALLETS), 1 + Math.floor(random() * 60))
      else if (kind < 0.9) await this.#put(client, op, pick(REGISTERS), seen)
      else await this.#run(client, op, { f: kind < 0.97 ? 'stumble' : 'fall', key: pick(ACCOUNTS), keyed: true })
    }
  }

  async #transfer(client: number, op: string, key: string, to: string, cents: number): Promise<void> {
    if (key !== to) await this.#run(client, op, { f: 'transfer', key, keyed: true, more: { to, cents } })
  }

  async #shift(client: number, op: string, key: string, to: string): Promise<void> {
    if (key !== to) await this.#run(client, op, { f: 'shift', key, keyed: true, more: { to } })
  }

  /** Compare-and-set: what this client saw last is what it wants to replace. */
  async #put(client: number, op: string, key: string, seen: Map<string, string>): Promise<void> {
    const version = seen.get(key)
    const headers: Record<string, string> = version === undefined ? { 'if-none-match': '*' } : { 'if-match': version }
    const value = Number(version?.replaceAll('"', '') ?? 0)
    await this.history.record({ process: client, f: 'put', key, value }, async () => {
      const { status, version: current } = await this.#run(client, op, { f: 'put', key, keyed: true, headers })
      seen.set(key, `"${current}"`)
      return status === 'succeeded' ? { done: current } : { stale: current }
    })
  }

  async #run(
    client: number,
    op: string,
    what: { f: string; key: string; keyed: boolean; more?: object; headers?: Record<string, string> },
  ): Promise<{ status: Told['status']; version: number }> {
    const { f, key, keyed, more, headers } = what
    const request: Request = {
      path: f === 'book' || f === 'shift' ? `/books/${f}` : `/ledger/${f}`,
      headers: { 'content-type': 'application/json', ...(keyed ? { 'idempotency-key': `"${op}"` } : {}), ...headers },
      body: JSON.stringify({ op, key, ...more }),
    }
    const answer = keyed ? await this.#answered(request, client) : await this.#send(request, client).catch(() => undefined)
    if (answer === undefined || answer.status === 503) {
      this.unknown.push(op)
      await new Promise((resolve) => setTimeout(resolve, 50))
      return { status: 'rejected', version: 0 }
    }
    const commandId = answer.headers.get('twofold-command-id') ?? ''
    const waits = !ACCEPTED.has(f)
    const late = answer.status === 202 && waits ? await this.#outcome(commandId, client) : undefined
    const { status, version } = late ?? outcomeOf(answer, op)
    const repeat = keyed && late === undefined ? { request, answer: { status: answer.status, body: answer.body } } : undefined
    this.told.push({ op, client: String(client), key, status, commandId, repeat })
    return { status, version }
  }

  /** The answer to a request with a key: asked for until there is one. */
  async #answered(request: Request, client: number): Promise<Received> {
    let last = ''
    const end = performance.now() + OPERATION_MS
    for (let attempt = client; performance.now() < end; attempt += 1) {
      const answer = await this.#send(request, attempt).catch((error: unknown) => String(error))
      if (typeof answer !== 'string' && !isPassing(answer)) return answer
      last = typeof answer === 'string' ? answer : `${answer.status} ${answer.body}`
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`${request.path} ${request.body} has had no answer for ${OPERATION_MS} ms; at last: ${last}`)
  }

  async #outcome(commandId: string, client: number): Promise<{ status: Told['status']; version: number }> {
    const end = performance.now() + OPERATION_MS
    for (let attempt = client; performance.now() < end; attempt += 1) {
      const answer = await this.#send({ path: `/commands/${commandId}?wait=2`, headers: {}, body: '' }, attempt).catch(() => undefined)
      const { status, version } = JSON.parse(answer?.status === 200 ? answer.body : '{}') as { status?: string; version?: number }
      if (status === 'succeeded' || status === 'rejected') return { status, version: version ?? 0 }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`command ${commandId} has had no outcome for ${OPERATION_MS} ms`)
  }

  async #send({ path, headers, body }: Request, at: number): Promise<Received> {
    const address = this.#addresses[at % this.#addresses.length]
    if (address === undefined) throw new Error('no instance runs')
    const sent = body === '' ? {} : { method: 'POST', body }
    const request = { from: Date.now(), to: Infinity }
    this.#requests.push(request)
    try {
      const response = await fetch(address + path, { ...sent, headers, signal: AbortSignal.timeout(ANSWER_MS) })
      return { status: response.status, body: await response.text(), headers: response.headers }
    } finally {
      request.to = Date.now()
    }
  }
}

/** Says nothing about the command yet: away, overloaded, or its first request is still being answered. */
function isPassing({ status, body }: Answer): boolean {
  return status === 503 || status === 429 || (status === 409 && body.includes('IDEMPOTENCY_KEY_IN_USE'))
}

function outcomeOf({ status, headers }: Received, op: string): { status: Told['status']; version: number } {
  const version = Number(headers.get('etag')?.replaceAll('"', '') ?? 0)
  if (status === 202) return { status: 'accepted', version }
  if (status === 200) return { status: 'succeeded', version }
  if (status === 409 || status === 412) return { status: 'rejected', version }
  throw new Error(`operation ${op} was answered ${status}`)
}
