// One calling instance, seen by the owner: its commands come in as lines, and each result leaves as soon as there is one.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Envelope } from '../../contract/envelope.ts'
import type { DirectCarrier } from '../../ports/direct-carrier.ts'
import type { Logger } from '../../runtime/logger.ts'
import { LineReader, LineSender } from './lines.ts'
import {
  decodeCall,
  encodeResult,
  LINE_CHARACTERS_MAX,
  PENDING_CHARACTERS_MAX,
  PENDING_MAX,
  PING,
  RESULT_CHARACTERS_MAX,
  RESULTS_CHARACTERS_MAX,
  type Call,
  type OwnerResult,
} from './wire.ts'

export interface CallerOptions {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly engine: DirectCarrier
  readonly ownerOf: (envelope: Envelope) => string | undefined
  readonly now: () => number
  readonly log: Logger
}

interface Running {
  readonly characters: number
  readonly takenBack: AbortController
}

export class Caller {
  readonly #options: CallerOptions
  readonly #running = new Map<string, Running>()
  /** Of all that run. */
  #characters = 0
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
    for (const { takenBack } of this.#running.values()) takenBack.abort()
  }

  /** Says what is left to say, then ends the connection. */
  async end(): Promise<void> {
    this.#out.end()
    await this.#over
  }

  #take(line: string): void {
    if (line === PING) return this.#out.send(PING)
    if (line.startsWith('X')) return this.#takeBack(line.slice(1))
    const call = decodeCall(line)
    const { id } = call.envelope
    // The same command again is answered with the first.
    if (this.#running.has(id)) return
    if (this.#running.size >= PENDING_MAX || this.#characters + line.length > PENDING_CHARACTERS_MAX)
      return this.#answer(id, { status: 'deferred' })
    const takenBack = new AbortController()
    this.#running.set(id, { characters: line.length, takenBack })
    this.#characters += line.length
    void this.#answerTo(call, takenBack.signal)
  }

  async #answerTo(call: Call, takenBack: AbortSignal): Promise<void> {
    const { id } = call.envelope
    let result: OwnerResult = { status: 'deferred', begun: true }
    try {
      result = await this.#run(call, takenBack)
    } catch (error) {
      if (!takenBack.aborted) this.#options.log.error({ err: error, commandId: id }, 'a call of another instance failed; it takes the log')
    }
    // Where it was taken back, nobody wants to know.
    if (takenBack.aborted) return
    this.#forget(id)
    this.#answer(id, result)
  }

  /** Its place is free for whatever comes behind it, in the very same piece. */
  #takeBack(id: string): void {
    this.#forget(id)?.takenBack.abort()
  }

  #forget(id: string): Running | undefined {
    const running = this.#running.get(id)
    if (running === undefined) return undefined
    this.#running.delete(id)
    this.#characters -= running.characters
    return running
  }

  /** A result that is too long, or a caller that reads none, must not cost all others their connection, or this process its memory. */
  #answer(id: string, result: OwnerResult): void {
    const line = encodeResult(id, result)
    // All others are short, and there are no more of them than calls: what may have begun is told as that.
    const mayBeLong = result.status === 'finished' || result.status === 'claimed'
    const fits = line.length <= RESULT_CHARACTERS_MAX && this.#out.characters + line.length <= RESULTS_CHARACTERS_MAX
    if (fits || !mayBeLong) return this.#out.send(line)
    // What is stored is found by whoever asks for it: its outcome, or the claim, which an append meets.
    this.#out.send(encodeResult(id, result.status === 'finished' ? { status: 'held' } : { status: 'deferred' }))
  }

  async #run({ envelope, deadline }: Call, signal: AbortSignal): Promise<OwnerResult> {
    const { engine, ownerOf, now } = this.#options
    const waitMs = deadline === undefined ? undefined : deadline - now()
    // Its caller has stopped waiting, and appended it to the log by now.
    if (waitMs !== undefined && waitMs <= 0) return { status: 'deferred' }
    if (!engine.reaches(envelope)) return { status: 'moved', owner: ownerOf(envelope) }
    const result = await engine.call(envelope, signal, { waitMs })
    return result.status === 'deferred' && !engine.reaches(envelope) && result.begun !== true
      ? { status: 'moved', owner: ownerOf(envelope) }
      : result
  }
}
