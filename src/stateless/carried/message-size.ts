// Whether a broker carries a message at all: asked before anything is stored for it, so that a command that is refused for good leaves nothing behind
// that a repeated request could bring to life.
import type { CarriedMessage, CarrierFeatures } from '../../ports/carrier.ts'

/** Its bytes, where they are more than the carrier takes. */
export function bytesTooMany({ body }: CarriedMessage, { messageBytesMax }: Pick<CarrierFeatures, 'messageBytesMax'>): number | undefined {
  if (body.length <= messageBytesMax / 3) return undefined
  const bytes = Buffer.byteLength(body)
  return bytes <= messageBytesMax ? undefined : bytes
}
