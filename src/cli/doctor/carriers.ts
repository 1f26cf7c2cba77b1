// What each way of carrying commands promises, told from its `features`.
import { postgresLogFeatures } from '../../adapters/postgres/command-log.ts'
import type { CommandLogFeatures } from '../../ports/command-log.ts'
import { carriedLogFeatures } from '../../stateless/carried/carried-log.ts'
import type { Check } from './check.ts'

export interface CarrierEntry {
  readonly name: string
  readonly features: CommandLogFeatures
}

/** A further carrier joins here. */
export const carriers: readonly CarrierEntry[] = [
  { name: 'postgres', features: postgresLogFeatures },
  { name: 'rabbitmq', features: carriedLogFeatures },
  { name: 'kafka', features: carriedLogFeatures },
]

/** A feature without words does not compile. */
const words: { readonly [Feature in keyof CommandLogFeatures]: (value: CommandLogFeatures[Feature]) => string } = {
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

export function promiseOf({ name, features }: CarrierEntry): Check {
  const promises = (Object.keys(words) as (keyof CommandLogFeatures)[]).map((feature) => wordsFor(feature, features))
  return { name: `carrier.${name}`, status: 'ok', found: promises.join('; ') }
}

function wordsFor<Feature extends keyof CommandLogFeatures>(feature: Feature, features: CommandLogFeatures): string {
  return words[feature](features[feature])
}
