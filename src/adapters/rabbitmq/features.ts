// What RabbitMQ can do. Apart from what needs its package: `twofold doctor` tells it also where that is not installed.
import type { CarrierFeatures } from '../../ports/carrier.ts'

export const rabbitmqFeatures: CarrierFeatures = {
  durable: true,
  replies: true,
  messageBytesMax: 16 * 1024 * 1024,
  exclusive: true,
  keepsInHand: false,
}
