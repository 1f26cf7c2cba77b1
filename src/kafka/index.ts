// `twofold/kafka`: a Kafka carrier with settings of its own. `@platformatic/kafka` is an optional peer: whoever imports this has it.
export { kafkaCarrier } from '../adapters/kafka/carrier.ts'
export type { KafkaCarrierOptions } from '../adapters/kafka/carrier.ts'
