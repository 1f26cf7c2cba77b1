// Requests that wait for something: each has a deadline, and all of them end when the instance stops.
import type { FastifyReply } from 'fastify'

/** All waits of one gateway. */
export class Waiting {
  readonly #waits = new Set<Wait>()
  #stopped = false

  /** Starts a wait of `ms` milliseconds. Call `end` when it is over. */
  begin(ms: number): Wait {
    const wait = new Wait(ms, (ended) => this.#waits.delete(ended))
    this.#waits.add(wait)
    if (this.#stopped) wait.cut('the instance is stopping')
    return wait
  }

  /** Ends all waits, also those that begin from now on. */
  stop(): void {
    this.#stopped = true
    for (const wait of this.#waits) wait.cut('the instance is stopping')
  }
}

/** One request's patience. */
export class Wait {
  readonly #controller = new AbortController()
  readonly #endsAt: number
  readonly #timer: NodeJS.Timeout
  readonly #ended: (wait: Wait) => void
  #unwatch: (() => void) | undefined
  #clientIsGone = false

  constructor(ms: number, ended: (wait: Wait) => void) {
    this.#endsAt = performance.now() + ms
    this.#timer = setTimeout(() => this.cut('the wait is over'), ms)
    this.#ended = ended
  }

  /** Aborted at the deadline, when the instance stops, or (once `whileConnected` was called) when the client is gone. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Milliseconds left; 0 once it was cut. */
  get remainingMs(): number {
    return this.signal.aborted ? 0 : Math.max(0, Math.round(this.#endsAt - performance.now()))
  }

  /** From now on, a client that hangs up ends the wait. */
  whileConnected(reply: FastifyReply): void {
    this.#unwatch ??= whenGone(reply, () => {
      this.#clientIsGone = true
      this.cut('the client is gone')
    })
  }

  /** Nobody hears what this request is answered with. */
  get clientIsGone(): boolean {
    return this.#clientIsGone
  }

  cut(why: string): void {
    this.#controller.abort(new WaitEnded(why))
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#unwatch?.()
    this.#ended(this)
  }
}

/** Calls `gone` when the client hangs up, at once if it has. Returns how to stop watching. */
export function whenGone(reply: FastifyReply, gone: () => void): () => void {
  if (reply.raw.destroyed) gone()
  reply.raw.once('close', gone)
  return () => reply.raw.off('close', gone)
}

/** The reason of an aborted wait. */
export class WaitEnded extends Error {
  override readonly name = 'WaitEnded'
}
