// The command log of an app whose commands a broker carries: claimed in PostgreSQL where there is an Idempotency-Key, then published; the sender
// is told once the broker has confirmed.
//
// With `whenAway: 'log'` PostgreSQL's log takes what the broker cannot, and from then on all of that partition until its owner has handed
// everything on: so no command overtakes another one of its sender.
//
// A command that the broker may have, and may not, is in doubt: it is kept until one of the two has it for certain (./doubts.ts), and its sender is
// told its id. A command that was refused is nowhere, and its id is told to nobody.
import type { Envelope } from '../../contract/envelope.ts'
import { isTwofoldError, TwofoldError } from '../../errors.ts'
import { carriedMessage, type CarriedMessage, type CarrierFeatures, type OpenCarrier } from '../../ports/carrier.ts'
import type { Claims } from '../../ports/claims.ts'
import type { Appended, CommandLog, CommandLogFeatures, LogEntry } from '../../ports/command-log.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Doubts } from './doubts.ts'
import { dropSoon } from './drop-soon.ts'
import { bytesTooMany } from './message-size.ts'

/** What happens to commands while the broker is away: they are refused (503), or PostgreSQL's log takes them. */
export type WhenAway = 'refuse' | 'log'

export const carriedLogFeatures: CommandLogFeatures = { order: 'per-key', claimsWithAppend: false, findsById: false }

/** For so long what was seen of the log holds. */
const EMPTY_MS = 1000

/** A repeated request has its command published again so often, and so many commands are remembered for it. */
const AGAIN_MS = 5000
const AGAIN_MAX = 10_000

export interface CarriedLogOptions {
  readonly name: string
  readonly carrier: Pick<OpenCarrier, 'publish' | 'isAway' | 'drop'>
  readonly features: CarrierFeatures
  readonly claims: Claims
  readonly slots: SlotMap
  readonly whenAway: WhenAway
  /** PostgreSQL's log. */
  readonly waiting: CommandLog
  readonly doubts: Pick<Doubts, 'admit' | 'keep'>
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
  /** When a command was last published for a repeated request, and the end of that. */
  readonly #again = new Map<string, { readonly at: number; readonly published: Promise<void> }>()

  constructor(options: CarriedLogOptions) {
    this.name = options.name
    this.#options = options
  }

  async append(entry: LogEntry): Promise<Appended> {
    const { envelope, begun } = entry
    if (begun !== true) {
      this.#checkSize(this.#messageOf(envelope))
      this.#options.doubts.admit()
    }
    try {
      if (envelope.claim !== undefined) {
        const claim = await this.#options.claims.claim(entry)
        await this.#options.crash?.reach('carrier.claimed')
        // Its own: made by an earlier try, which may have come no further.
        if (claim !== undefined && claim.commandId !== envelope.id) return { status: 'claimed', claim }
      }
      await this.#publish(entry)
      return { status: 'appended' }
    } catch (error) {
      throw begun === true || isTwofoldError(error, 'IN_DOUBT') ? await this.#inDoubt(entry, error) : error
    }
  }

  async appendAgain(hash: string, commandId: string): Promise<void> {
    const last = this.#again.get(commandId)
    // Who asks again and again for what is not finished does not fill the queue with it.
    if (last !== undefined && performance.now() - last.at < AGAIN_MS) return last.published
    const published = this.#publishAgain(hash, commandId)
    this.#remember(commandId, published)
    try {
      await published
    } catch (error) {
      this.#again.delete(commandId)
      throw error
    }
  }

  async #publishAgain(hash: string, commandId: string): Promise<void> {
    const envelope = await this.#options.claims.commandOf(hash, commandId)
    if (envelope === undefined) return
    const entry = { envelope, begun: true }
    await this.#publish(entry).catch(async (error: unknown) => {
      throw await this.#inDoubt(entry, error)
    })
  }

  #remember(commandId: string, published: Promise<void>): void {
    this.#again.delete(commandId)
    this.#again.set(commandId, { at: performance.now(), published })
    for (const id of this.#again.keys()) {
      if (this.#again.size <= AGAIN_MAX) break
      this.#again.delete(id)
    }
  }

  /** What its sender is told of a command that may be at the broker. */
  async #inDoubt(entry: LogEntry, cause: unknown): Promise<TwofoldError> {
    const { id } = entry.envelope
    const reason = cause instanceof Error ? cause.message : String(cause)
    const next = (await this.#options.doubts.keep(entry))
      ? 'it is kept, and takes effect once'
      : 'this instance goes on until that is certain'
    const message = `${reason}; ${next}: ask for its outcome by its id, and send it again only with the same Idempotency-Key`
    return new TwofoldError('IN_DOUBT', message, { cause, commandId: id, retryAfterSeconds: 1 })
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
    const { name, carrier, whenAway, waiting, crash } = this.#options
    const { envelope } = entry
    const message = this.#messageOf(envelope)
    this.#checkSize(message)
    if (await this.isBehindLog(envelope)) return void (await waiting.append(entry))
    try {
      await crash?.reach('carrier.publish', () => dropSoon(carrier))
      await carrier.publish(message)
      await crash?.reach('carrier.confirmed', () => carrier.drop?.())
    } catch (error) {
      const failure = isTwofoldError(error) ? error : new TwofoldError('IN_DOUBT', `${name} failed (${String(error)})`, { cause: error })
      const begun = entry.begun === true || failure.code === 'IN_DOUBT'
      if (whenAway !== 'log' || !(begun || failure.code === 'UNAVAILABLE')) throw failure
      // It may be there all the same: its id makes a second one harmless. Where the log fails too, that is still so.
      await waiting.append({ ...entry, begun }).catch((reason: unknown) => {
        throw begun ? failure : reason
      })
    }
  }

  #messageOf(envelope: Envelope): CarriedMessage {
    return carriedMessage(envelope, partitionOf(this.#options.slots, envelope.service, envelope.keys[0] ?? ''))
  }

  #checkSize(carried: CarriedMessage): void {
    const { name, features } = this.#options
    const bytes = bytesTooMany(carried, features)
    if (bytes === undefined) return
    const message = `the command has ${bytes} bytes, and ${name} carries ${features.messageBytesMax} at most`
    throw new TwofoldError('BODY_TOO_LARGE', message)
  }
}
