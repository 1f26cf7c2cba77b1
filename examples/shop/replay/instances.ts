// Talks to a shop that may have several instances: in turn, and when one does not answer, with the next.
import { Agent as HttpAgent, request as requestHttp, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Request {
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Readonly<Record<string, unknown>>
}

/** Answers that say "not now": the same request may do better later, or at another instance. */
const TRIED_AGAIN = new Set([429, 500, 502, 503, 504])
const SILENCE_MS = 30_000

/** Failures after which the same request may reach an instance. Anything else, such as an answer that is not HTTP, fails the same way again. */
const NO_ANSWER = new Set([
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ETIMEDOUT',
])

export class Instances {
  readonly #urls: readonly string[]
  readonly #patienceMs: number
  // Not `fetch`: it takes twice the processor time for a request, on a machine the shop may have to share with the replay.
  readonly #http = new HttpAgent({ keepAlive: true })
  readonly #https = new HttpsAgent({ keepAlive: true })
  #turn = 0

  /** `patienceMs`: how long one request is tried, at all instances together. */
  constructor(urls: readonly string[], patienceMs = 60_000) {
    this.#urls = urls
    this.#patienceMs = patienceMs
  }

  /** @throws Error when no instance has answered for as long as the patience lasts, and at once for what is no matter of patience. */
  async request(path: string, request: Request = {}): Promise<Answer> {
    const endsAt = performance.now() + this.#patienceMs
    for (let attempt = 1; ; attempt += 1) {
      const url = this.#urls[(this.#turn += 1) % this.#urls.length] ?? ''
      const answer = await this.#once(url + path, request).catch((error: unknown) => {
        if (!NO_ANSWER.has((error as NodeJS.ErrnoException).code ?? '')) throw error
        if (performance.now() > endsAt) throw new Error(`no instance of the shop answers (${this.#urls.join(', ')})`, { cause: error })
        return undefined
      })
      if (answer !== undefined && (!TRIED_AGAIN.has(answer.status) || performance.now() > endsAt)) return answer
      await sleep(Math.min(1000, 20 * 2 ** attempt) * (0.5 + Math.random() / 2))
    }
  }

  #once(url: string, { method = 'GET', headers = {}, body }: Request): Promise<Answer> {
    const secure = url.startsWith('https:')
    return new Promise((resolve, reject) => {
      const options = { method, headers, agent: secure ? this.#https : this.#http, timeout: SILENCE_MS }
      const outgoing = (secure ? requestHttps : requestHttp)(url, options, (incoming) => void answerOf(url, incoming).then(resolve, reject))
      outgoing.on('error', reject)
      const silence = `${url} did not answer within ${SILENCE_MS} ms`
      outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error(silence), { code: 'ETIMEDOUT' })))
      outgoing.end(body)
    })
  }
}

async function answerOf(url: string, incoming: IncomingMessage): Promise<Answer> {
  const status = incoming.statusCode ?? 0
  const body = jsonOf(await text(incoming))
  // A proxy says "not now" in HTML: what is not JSON matters only where the answer counts.
  if (body === undefined && !TRIED_AGAIN.has(status)) throw new Error(`${url} answered ${status} without JSON: it is no shop`)
  return { status, headers: incoming.headers, body: body ?? {} }
}

function jsonOf(body: string): Answer['body'] | undefined {
  try {
    return body === '' ? {} : (JSON.parse(body) as Answer['body'])
  } catch {
    return undefined
  }
}
