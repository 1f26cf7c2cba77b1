// What Kafka can do. Apart from what needs its package: `twofold doctor` tells it also where that is not installed.
import type { CarrierFeatures } from '../../ports/carrier.ts'

export const kafkaFeatures: CarrierFeatures = {
  durable: true,
  replies: false,
  messageBytesMax: 4 << 20,
  exclusive: false,
  keepsInHand: true,
}
