// Commands whose result is waited for, over the broker: through the queue of all others, so that they overtake none. Where the broker brings
// replies back the result comes with one; elsewhere the command is appended and its outcome waited for, as everybody can.
import type { Envelope } from '../../contract/envelope.ts'
import { isTwofoldError } from '../../errors.ts'
import { carriedMessage, type CarrierFeatures, type OpenCarrier } from '../../ports/carrier.ts'
import type { Claims } from '../../ports/claims.ts'
import type { CallContext, DirectCarrier, DirectResult } from '../../ports/direct-carrier.ts'
import { decodeDirectResult } from '../../ports/direct-result.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Doubts } from './doubts.ts'
import { dropSoon } from './drop-soon.ts'
import { bytesTooMany } from './message-size.ts'

export interface CarriedCallsOptions {
  readonly carrier: Pick<OpenCarrier, 'request' | 'drop'>
  readonly features: Pick<CarrierFeatures, 'messageBytesMax'>
  readonly claims: Claims
  readonly doubts: Pick<Doubts, 'admit'>
  readonly slots: SlotMap
  /** The short way to the owner. */
  readonly direct: DirectCarrier
  /** Whether the contract lets a command take it (`order: 'perPath'`). */
  readonly isPerPath: (envelope: Envelope) => boolean
  /** Whether earlier ones of its partition wait in PostgreSQL's log. */
  readonly isBehindLog: (envelope: Envelope) => Promise<boolean>
  readonly crash?: CrashPoints | undefined
}

export class CarriedCalls implements DirectCarrier {
  readonly #options: CarriedCallsOptions

  constructor(options: CarriedCallsOptions) {
    this.#options = options
  }

  reaches(envelope: Envelope): boolean {
    const { carrier, direct, isPerPath } = this.#options
    return isPerPath(envelope) ? direct.reaches(envelope) : carrier.request !== undefined
  }

  async call(envelope: Envelope, signal?: AbortSignal, context?: CallContext): Promise<DirectResult> {
    const { carrier, features, claims, doubts, slots, direct, isPerPath, isBehindLog, crash } = this.#options
    if (isPerPath(envelope)) return direct.call(envelope, signal, context)
    const message = carriedMessage(envelope, partitionOf(slots, envelope.service, envelope.keys[0] ?? ''))
    try {
      doubts.admit()
      if (bytesTooMany(message, features) !== undefined) return { status: 'deferred' }
      if (await isBehindLog(envelope)) return { status: 'deferred' }
      if (envelope.claim !== undefined) {
        const claim = await claims.claim({ envelope })
        await crash?.reach('carrier.claimed')
        if (claim !== undefined && claim.commandId !== envelope.id) return { status: 'claimed', claim }
      }
    } catch {
      // Nothing was sent: appending it comes to the same end, and says why.
      return { status: 'deferred' }
    }
    let isConfirmed = false
    const confirmed = (): void => {
      isConfirmed = true
      void crash?.reach('carrier.confirmed', () => carrier.drop?.())
    }
    try {
      await crash?.reach('carrier.publish', () => dropSoon(carrier))
      const reply = await carrier.request?.(message, signal, confirmed)
      return reply === undefined ? { status: 'deferred' } : decodeDirectResult(reply)
    } catch (error) {
      // The broker has it: its outcome will come, and is looked for from here on.
      if (isConfirmed) return { status: 'held' }
      if (isTwofoldError(error)) return { status: 'deferred', begun: error.code === 'IN_DOUBT' }
      throw error
    }
  }
}
