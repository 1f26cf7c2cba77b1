// What is wrong with the settings of a carrier, one sentence each: the value given, the values allowed, what to do.
import { brokersFault } from '../adapters/kafka/addresses.ts'
import { amqpUrlFault } from '../adapters/rabbitmq/address.ts'
import { shownValue } from '../runtime/without-password.ts'
import { CARRIERS, WHEN_AWAY } from './carriers.ts'

/** As they were given: programs that no compiler has seen give anything. */
export interface GivenCarrier {
  readonly carrier?: unknown
  readonly amqpUrl?: unknown
  readonly kafkaBrokers?: unknown
  readonly whenAway?: unknown
}

/** `names`: what each of them is called where it was set. What is undefined was not given. */
export function carrierFaults(given: GivenCarrier, names: Readonly<Record<keyof GivenCarrier, string>>): string[] {
  const { carrier, amqpUrl, kafkaBrokers, whenAway } = given
  const faults = [
    carrier === undefined ? undefined : carrierFault(carrier),
    amqpUrl === undefined ? undefined : amqpUrlFault(amqpUrl),
    kafkaBrokers === undefined ? undefined : brokersFault(kafkaBrokers),
    whenAway === undefined || WHEN_AWAY.some((one) => one === whenAway)
      ? undefined
      : `${shownValue(whenAway)}; it must be ${either(WHEN_AWAY)}`,
  ]
  const called = [names.carrier, names.amqpUrl, names.kafkaBrokers, names.whenAway]
  return faults.flatMap((fault, at) => (fault === undefined ? [] : [`${called[at]} is ${fault}`]))
}

function carrierFault(carrier: unknown): string | undefined {
  if (typeof carrier !== 'object' || carrier === null)
    return CARRIERS.some((one) => one === carrier) ? undefined : `${shownValue(carrier)}; it must be ${either(CARRIERS)}`
  const { name, features, open } = carrier as { readonly name?: unknown; readonly features?: unknown; readonly open?: unknown }
  const lacks = [
    ...(typeof name === 'string' && name !== '' ? [] : ['name']),
    ...(typeof features === 'object' && features !== null ? [] : ['features']),
    ...(typeof open === 'function' ? [] : ['open']),
  ]
  if (lacks.length === 0) return undefined
  const keys = Object.keys(carrier)
  const has = keys.length === 0 ? 'an empty object' : `an object with ${keys.join(', ')}`
  return (
    `${has}, which is no carrier: it lacks ${lacks.join(', ')}; it must be ${either(CARRIERS)}, kafkaCarrier({ brokers }) of twofold/kafka, ` +
    `or a carrier of your own; addresses of brokers are set with amqpUrl and kafkaBrokers`
  )
}

/** `refuse or log`. */
function either(values: readonly string[]): string {
  return `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`
}
