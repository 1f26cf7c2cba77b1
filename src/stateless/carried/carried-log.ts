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
  /** The log was seen empty, and nobody appends to it: it need not be asked any more. */
  #isLogDone = false

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
    const envelope = await this.#options.claims.commandOf(hash, commandId)
    if (envelope !== undefined) await this.#publish({ envelope, begun: true })
  }

  /** Whether PostgreSQL's log holds commands of this key's partition: then a later one has to join them. */
  async isBehindLog({ service, keys }: Envelope): Promise<boolean> {
    const { slots, whenAway, anyInLog, waitsInLog } = this.#options
    if (whenAway === 'refuse') {
      if (this.#isLogDone) return false
      this.#isLogDone = !(await anyInLog())
      if (this.#isLogDone) return false
    }
    return waitsInLog(partitionOf(slots, service, keys[0] ?? ''))
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
