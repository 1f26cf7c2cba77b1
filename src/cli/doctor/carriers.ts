// What each way of carrying commands promises, told from its features.
import { kafkaFeatures } from '../../adapters/kafka/features.ts'
import { postgresLogFeatures } from '../../adapters/postgres/command-log.ts'
import { rabbitmqFeatures } from '../../adapters/rabbitmq/features.ts'
import type { CarrierFeatures } from '../../ports/carrier.ts'
import type { CommandLogFeatures } from '../../ports/command-log.ts'
import { carriedLogFeatures } from '../../stateless/carried/carried-log.ts'
import type { Check } from './check.ts'
import { bytesOf } from './figures.ts'

export interface CarrierEntry {
  readonly name: string
  /** Of the log that callers meet. */
  readonly log: CommandLogFeatures
  /** Of the broker behind it, where there is one. */
  readonly broker?: CarrierFeatures
}

/** A further carrier joins here. */
export const carriers: readonly CarrierEntry[] = [
  { name: 'postgres', log: postgresLogFeatures },
  { name: 'rabbitmq', log: carriedLogFeatures, broker: rabbitmqFeatures },
  { name: 'kafka', log: carriedLogFeatures, broker: kafkaFeatures },
]

/** A feature without words does not compile. */
type Words<Features> = { readonly [Feature in keyof Features]-?: (value: Features[Feature]) => string }

const ofLog: Words<CommandLogFeatures> = {
  order: (order) => ({ 'per-key': 'commands of one key run in the order in which they were accepted' })[order],
  claimsWithAppend: (together) =>
    together
      ? 'an Idempotency-Key is stored in the same transaction as its command'
      : 'an Idempotency-Key is stored before its command, and a retry sends the command again',
  findsById: (finds) =>
    finds
      ? 'a command that waits is found by its id'
      : 'a command that waits cannot be asked for: an id that is young enough counts as queued, and ids of refused commands are not told',
}

const ofBroker: Words<CarrierFeatures> = {
  durable: (durable) => (durable ? 'what it confirmed outlives its restart' : 'what it holds ends with it'),
  replies: (replies) => (replies ? 'a result comes back by the broker' : 'a result is looked for in PostgreSQL'),
  messageBytesMax: (bytes) => `a command may have ${bytesOf(bytes)}`,
  exclusive: (exclusive) =>
    exclusive
      ? 'the broker itself keeps a second consumer of a partition waiting'
      : 'the lease of a partition alone says whose consumer counts',
  keepsInHand: (keeps) =>
    keeps
      ? 'what is in hand stays so when the connection is lost'
      : 'what is in hand when the connection is lost is delivered again, and runs once',
}

export function promiseOf({ name, log, broker }: CarrierEntry): Check {
  const promises = [...told(ofLog, log), ...(broker === undefined ? [] : told(ofBroker, broker))]
  return { name: `carrier.${name}`, status: 'ok', found: promises.join('; ') }
}

function told<Features extends object>(words: Words<Features>, features: Features): string[] {
  return (Object.keys(words) as (keyof Features)[]).map((feature) => words[feature](features[feature]))
}
