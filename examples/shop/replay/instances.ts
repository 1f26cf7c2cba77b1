// Talks to a shop that may have several instances: in turn, and when one does not answer, with the next.
import { setTimeout as sleep } from 'node:timers/promises'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>>
}

const TRIED_AGAIN = new Set([429, 500, 502, 503, 504])

export class Instances {
  readonly #urls: readonly string[]
  readonly #patienceMs: number
  #turn = 0

  /** `patienceMs`: how long one request is tried, at all instances together. */
  constructor(urls: readonly string[], patienceMs = 60_000) {
    this.#urls = urls
    this.#patienceMs = patienceMs
  }

  /** @throws Error when no instance has answered for as long as the patience lasts. */
  async request(path: string, init: RequestInit = {}): Promise<Answer> {
    const endsAt = performance.now() + this.#patienceMs
    for (let attempt = 1; ; attempt += 1) {
      const url = this.#urls[(this.#turn += 1) % this.#urls.length] ?? ''
      const answer = await once(url + path, init).catch((error: unknown) => {
        if (performance.now() > endsAt) throw new Error(`no instance of the shop answers (${this.#urls.join(', ')})`, { cause: error })
        return undefined
      })
      if (answer !== undefined && (!TRIED_AGAIN.has(answer.status) || performance.now() > endsAt)) return answer
      await sleep(Math.min(1000, 20 * 2 ** attempt) * (0.5 + Math.random() / 2))
    }
  }
}

async function once(url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(30_000) })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? {} : (JSON.parse(text) as Answer['body']) }
}
