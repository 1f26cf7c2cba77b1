// Direct calls to whoever owns a partition: this very process, or another one.
import type { Envelope } from '../../contract/envelope.ts'
import type { CallContext, DirectCarrier, DirectResult } from '../../ports/direct-carrier.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Service } from '../../runtime/service.ts'
import { RetryBudget } from './circuit.ts'
import type { Directory, Owner } from './directory.ts'
import { Peer } from './peer.ts'

/** A call is carried to so many instances at most, one after the other; then it goes through the log. */
const HOPS_MAX = 3

export interface DirectCallsOptions {
  readonly instanceId: string
  readonly directory: Directory
  /** The engine of this process, if it has one. */
  readonly own: DirectCarrier | undefined
  readonly slots: SlotMap
  readonly secret: string
  /** The database's time, in milliseconds since 1970. */
  readonly now: () => number
  readonly log: Logger
}

export class DirectCalls implements DirectCarrier, Service {
  readonly #options: DirectCallsOptions
  readonly #peers = new Map<string, Peer>()
  readonly #budget = new RetryBudget()
  #unlisten: (() => void) | undefined
  #stopped = false

  constructor(options: DirectCallsOptions) {
    this.#options = options
  }

  start(): Promise<void> {
    this.#unlisten = this.#options.directory.onUpdated(() => this.#closeDead())
    return Promise.resolve()
  }

  /** Callers that still wait are told at once; they append to the log. */
  stop(): Promise<void> {
    this.#stopped = true
    this.#unlisten?.()
    for (const peer of this.#peers.values()) peer.close()
    this.#peers.clear()
    return Promise.resolve()
  }

  reaches(envelope: Envelope): boolean {
    return this.#options.own?.reaches(envelope) === true || this.#peerFor(this.#partition(envelope))?.takes === true
  }

  call(envelope: Envelope, signal?: AbortSignal, context: CallContext = {}): Promise<DirectResult> {
    const { own } = this.#options
    if (own?.reaches(envelope) === true) return own.call(envelope, signal, context)
    return this.#callOwner(envelope, signal, context)
  }

  async #callOwner(envelope: Envelope, signal: AbortSignal | undefined, context: CallContext): Promise<DirectResult> {
    const { directory, own } = this.#options
    const partition = this.#partition(envelope)
    const askedAt = performance.now()
    let begun = false
    let isAgain = false
    let isPaid = false
    this.#budget.called()
    try {
      for (let hop = 1; hop <= HOPS_MAX; hop += 1) {
        const peer = this.#peerFor(partition)
        if (peer?.takes !== true) break
        isPaid = false
        const waitMs = context.waitMs === undefined ? undefined : context.waitMs - (performance.now() - askedAt)
        const result = await peer.call(envelope, signal, { waitMs })
        if (result.status === 'deferred') return { ...result, begun: begun || result.begun === true }
        if (result.status === 'moved') {
          // Between two owners there is none: the log keeps the command for the next one.
          if (result.owner === undefined) break
          if (!directory.learn(partition, result.owner)) await directory.refresh()
        } else if (result.status === 'lost') {
          begun ||= result.begun
          // The id makes a second copy harmless, so it is sent before it is known what became of the first; but not a third one.
          if (isAgain || !this.#budget.spend()) break
          isAgain = isPaid = true
          await directory.refresh()
        } else return result
        if (own?.reaches(envelope) === true) {
          const ours = await own.call(envelope, signal, context)
          return ours.status === 'deferred' ? { ...ours, begun: begun || ours.begun === true } : ours
        }
      }
      return { status: 'deferred', begun }
    } finally {
      if (isPaid) this.#budget.giveBack()
    }
  }

  #partition({ service, keys }: Envelope): number {
    return partitionOf(this.#options.slots, service, keys[0] ?? '')
  }

  #peerFor(partition: number): Peer | undefined {
    const owner = this.#options.directory.ownerOf(partition)
    if (owner === undefined || owner.id === this.#options.instanceId || this.#stopped) return undefined
    return this.#peers.get(owner.id) ?? this.#meet(owner)
  }

  #meet(owner: Owner): Peer {
    const { secret, now, log } = this.#options
    const peer = new Peer({ owner, secret, now, log })
    this.#peers.set(owner.id, peer)
    return peer
  }

  /** Whose lease has ended will not answer: others own what it had. */
  #closeDead(): void {
    for (const [id, peer] of this.#peers) {
      if (this.#options.directory.isAlive(id)) continue
      this.#peers.delete(id)
      peer.close()
    }
  }
}
