// The command log of an app whose commands a broker carries: claimed in PostgreSQL where there is an Idempotency-Key, then published; the sender
// is told once the broker has confirmed.
//
// With `whenAway: 'log'` PostgreSQL's log takes what the broker cannot, and from then on all of that partition until its owner has handed
// everything on: so no command overtakes another one of its sender.
import type { Envelope } from '../../contract/envelope.ts'
import { isTwofoldError, TwofoldError } from '../../errors.ts'
import { carriedMessage, type CarriedMessage, type CarrierFeatures, type OpenCarrier } from '../../ports/carrier.ts'
import type { Claims } from '../../ports/claims.ts'
import type { Appended, CommandLog, CommandLogFeatures, LogEntry } from '../../ports/command-log.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'

/** What happens to commands while the broker is away: they are refused (503), or PostgreSQL's log takes them. */
export type WhenAway = 'refuse' | 'log'

export const carriedLogFeatures: CommandLogFeatures = { order: 'per-key', claimsWithAppend: false }

/** For so long what was seen of the log holds. */
const EMPTY_MS = 1000

/** A repeated request has its command published again so often, and so many commands are remembered for it. */
const AGAIN_MS = 5000
const AGAIN_MAX = 10_000

export interface CarriedLogOptions {
  readonly name: string
  readonly carrier: Pick<OpenCarrier, 'publish' | 'isAway'>
  readonly features: CarrierFeatures
  readonly claims: Claims
  readonly slots: SlotMap
  readonly whenAway: WhenAway
  /** PostgreSQL's log. */
  readonly waiting: CommandLog
  /** Whether commands of a partition wait in it. */
  readonly waitsInLog: (partition: number) => Promise<boolean>
  /** Whether any do: then an earlier program left them, or another one is still at it. */
  readonly anyInLog: () => Promise<boolean>
  readonly crash?: CrashPoints | undefined
}

export class CarriedCommandLog implements CommandLog {
  readonly name: string
  readonly features = carriedLogFeatures
  readonly #options: CarriedLogOptions
  /** When the log was last seen empty, on the clock of `performance.now()`. Programs that still append to it may run beside this one. */
  #emptyAt = -Infinity
  #looking: Promise<boolean> | undefined
  /** When a command was last published for a repeated request. */
  readonly #again = new Map<string, number>()

  constructor(options: CarriedLogOptions) {
    this.name = options.name
    this.#options = options
  }

  async append(entry: LogEntry): Promise<Appended> {
    const { envelope } = entry
    if (envelope.claim !== undefined) {
      const claim = await this.#options.claims.claim(entry)
      await this.#options.crash?.reach('carrier.claimed')
      // Its own: made by an earlier try, which may have come no further.
      if (claim !== undefined && claim.commandId !== envelope.id) return { status: 'claimed', claim }
    }
    await this.#publish(entry)
    return { status: 'appended' }
  }

  async appendAgain(hash: string, commandId: string): Promise<void> {
    if (!this.#mayPublishAgain(commandId)) return
    try {
      const envelope = await this.#options.claims.commandOf(hash, commandId)
      if (envelope !== undefined) await this.#publish({ envelope, begun: true })
    } catch (error) {
      this.#again.delete(commandId)
      throw error
    }
  }

  /** Who asks again and again for what is not finished does not fill the queue with it. */
  #mayPublishAgain(commandId: string): boolean {
    const now = performance.now()
    if (now - (this.#again.get(commandId) ?? -Infinity) < AGAIN_MS) return false
    this.#again.delete(commandId)
    this.#again.set(commandId, now)
    for (const id of this.#again.keys()) {
      if (this.#again.size <= AGAIN_MAX) break
      this.#again.delete(id)
    }
    return true
  }

  /** Whether PostgreSQL's log holds commands of this key's partition: then a later one has to join them. */
  async isBehindLog({ service, keys }: Envelope): Promise<boolean> {
    const { slots, whenAway, waitsInLog } = this.#options
    if (whenAway === 'refuse' && (await this.#isLogEmpty())) return false
    return waitsInLog(partitionOf(slots, service, keys[0] ?? ''))
  }

  /** Looked at once a second at most. Where PostgreSQL is away nobody appends to it either, so what was seen last holds. */
  async #isLogEmpty(): Promise<boolean> {
    if (performance.now() - this.#emptyAt < EMPTY_MS) return true
    this.#looking ??= this.#options
      .anyInLog()
      .then(
        (any) => !any,
        (error: unknown) => {
          if (this.#emptyAt === -Infinity) throw error
          return true
        },
      )
      .finally(() => (this.#looking = undefined))
    const isEmpty = await this.#looking
    if (isEmpty) this.#emptyAt = performance.now()
    return isEmpty
  }

  async #publish(entry: LogEntry): Promise<void> {
    const { carrier, slots, whenAway, waiting, crash } = this.#options
    const { envelope } = entry
    const message = carriedMessage(envelope, partitionOf(slots, envelope.service, envelope.keys[0] ?? ''))
    // Also for what would wait in the log first: from there it could never go on.
    this.#checkSize(message)
    if (await this.isBehindLog(envelope)) return void (await waiting.append(entry))
    try {
      await crash?.reach('carrier.publish')
      await carrier.publish(message)
      await crash?.reach('carrier.confirmed')
    } catch (error) {
      if (whenAway !== 'log' || !isTwofoldError(error, 'UNAVAILABLE')) throw error
      // It may be there all the same: its id makes a second one harmless.
      await waiting.append(entry)
    }
  }

  #checkSize({ body, id }: CarriedMessage): void {
    const { name, features } = this.#options
    if (body.length <= features.messageBytesMax / 3) return
    const bytes = Buffer.byteLength(body)
    if (bytes <= features.messageBytesMax) return
    const message = `the command has ${bytes} bytes, and ${name} carries ${features.messageBytesMax} at most`
    throw new TwofoldError('BODY_TOO_LARGE', message, { commandId: id })
  }
}
