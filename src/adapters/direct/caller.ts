// One calling instance, seen by the owner: its commands come in as lines, and each result leaves as soon as there is one.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Envelope } from '../../contract/envelope.ts'
import type { DirectCarrier } from '../../ports/direct-carrier.ts'
import type { Logger } from '../../runtime/logger.ts'
import { LineReader, LineSender } from './lines.ts'
import { decodeCall, encodeResult, LINE_CHARACTERS_MAX, PENDING_MAX, PING, type Call, type OwnerResult } from './wire.ts'

export interface CallerOptions {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly engine: DirectCarrier
  readonly ownerOf: (envelope: Envelope) => string | undefined
  readonly now: () => number
  readonly log: Logger
}

export class Caller {
  readonly #options: CallerOptions
  readonly #running = new Map<string, AbortController>()
  readonly #out = new LineSender()
  readonly #over: Promise<void>

  constructor(options: CallerOptions) {
    this.#options = options
    this.#over = new Promise((resolve) => options.response.once('close', resolve))
  }

  /** Resolves when the connection is over. */
  async serve(): Promise<void> {
    const { request, response, log } = this.#options
    const reader = new LineReader(LINE_CHARACTERS_MAX)
    request.on('data', (piece: Buffer) => {
      try {
        for (const line of reader.read(piece)) this.#take(line)
      } catch (error) {
        log.error({ err: error }, 'cannot read what another instance sends; its connection is closed')
        request.destroy()
      }
    })
    request.on('error', () => undefined)
    request.once('end', () => this.#out.end())
    response.on('error', () => undefined)
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
    response.flushHeaders()
    this.#out.pipe(response)
    await this.#over
    this.#out.destroy()
    // Nobody is there to be told: what no batch has yet is taken back, and comes again through the log.
    for (const running of this.#running.values()) running.abort()
  }

  /** Says what is left to say, then ends the connection. */
  async end(): Promise<void> {
    this.#out.end()
    await this.#over
  }

  #take(line: string): void {
    if (line === PING) return this.#out.send(PING)
    if (line.startsWith('X')) return this.#running.get(line.slice(1))?.abort()
    if (this.#running.size >= PENDING_MAX) throw new RangeError(`more than ${PENDING_MAX} commands wait for their results`)
    const call = decodeCall(line)
    const { id } = call.envelope
    // The same command again is answered with the first.
    if (this.#running.has(id)) return
    const running = new AbortController()
    this.#running.set(id, running)
    void this.#run(call, running.signal)
      .then((result) => this.#out.send(encodeResult(id, result)))
      .catch((error: unknown) => {
        // It was taken back, so nobody wants to know.
        if (running.signal.aborted) return
        this.#options.log.error({ err: error, commandId: id }, 'a call of another instance failed; it takes the log')
        this.#out.send(encodeResult(id, { status: 'deferred', begun: true }))
      })
      .finally(() => this.#running.delete(id))
  }

  async #run({ envelope, deadline, traceparent }: Call, signal: AbortSignal): Promise<OwnerResult> {
    const { engine, ownerOf, now } = this.#options
    const waitMs = deadline === undefined ? undefined : deadline - now()
    // Its caller has stopped waiting, and appended it to the log by now.
    if (waitMs !== undefined && waitMs <= 0) return { status: 'deferred' }
    if (!engine.reaches(envelope)) return { status: 'moved', owner: ownerOf(envelope) }
    const result = await engine.call(envelope, signal, { waitMs, traceparent })
    return result.status === 'deferred' && !engine.reaches(envelope) && result.begun !== true
      ? { status: 'moved', owner: ownerOf(envelope) }
      : result
  }
}
