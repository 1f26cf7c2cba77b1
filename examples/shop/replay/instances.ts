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

  /** @throws Error when no instance has answered for as long as the patience lasts. */
  async request(path: string, request: Request = {}): Promise<Answer> {
    const endsAt = performance.now() + this.#patienceMs
    for (let attempt = 1; ; attempt += 1) {
      const url = this.#urls[(this.#turn += 1) % this.#urls.length] ?? ''
      const answer = await this.#once(url + path, request).catch((error: unknown) => {
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
      const outgoing = (secure ? requestHttps : requestHttp)(url, options, (incoming) => void answerOf(incoming).then(resolve, reject))
      outgoing.on('error', reject)
      outgoing.on('timeout', () => outgoing.destroy(new Error(`${url} did not answer within ${SILENCE_MS} ms`)))
      outgoing.end(body)
    })
  }
}

async function answerOf(incoming: IncomingMessage): Promise<Answer> {
  const json = await text(incoming)
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: json === '' ? {} : (JSON.parse(json) as Answer['body']) }
}
