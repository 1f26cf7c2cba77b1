// Which test files need a broker, and which of them do not run, or not all of them, because one is missing here.
import { globSync, readFileSync } from 'node:fs'
import { amqpUrl, reaches } from '../support/rabbitmq.ts'
import { hasKafka, hasKafkaNode } from './kafka/for-tests.ts'
import { hasRabbitMqNode } from './rabbitmq/for-tests.ts'

/** By what a test file names; the conformance suite (`grounds.ts`) takes brokers away. */
const signs = {
  'a RabbitMQ': /support\/(?:rabbitmq|broker-channels)\.ts'/,
  'a RabbitMQ of their own': /\bhasRabbitMqNode\b|\/grounds\.ts'/,
  'a Kafka': /\bhasKafka\b/,
  'a Kafka of their own': /\bhasKafkaNode\b|\/grounds\.ts'/,
} as const

type Need = keyof typeof signs

export interface BrokerSuite {
  readonly file: string
  readonly needs: readonly Need[]
}

export function brokerSuites(): BrokerSuite[] {
  const files = ['src', 'test', 'examples'].flatMap((folder) => globSync(`${folder}/**/*.test.ts`)).toSorted()
  return files.flatMap((file) => {
    const text = readFileSync(file, 'utf8')
    const needs = (Object.keys(signs) as Need[]).filter((need) => signs[need].test(text))
    return needs.length === 0 ? [] : [{ file, needs }]
  })
}

/** For whoever runs the tests: a line that all of these run, or one for each broker that is missing. */
export async function suitesSentences(): Promise<string[]> {
  const isThere: Readonly<Record<Need, boolean>> = {
    'a RabbitMQ': await reaches(amqpUrl, 5672),
    'a RabbitMQ of their own': hasRabbitMqNode,
    'a Kafka': hasKafka,
    'a Kafka of their own': hasKafkaNode,
  }
  const suites = brokerSuites()
  const missing = (Object.keys(isThere) as Need[]).filter((need) => !isThere[need])
  if (missing.length === 0) return [`all ${suites.length} test files that need a broker run`]
  const whole = suites.filter(({ needs }) => !needs.some((need) => missing.includes(need)))
  return [
    ...missing.map(
      (need) => `NOT run, or not all of it, for want of ${need}: ${filesOf(suites.filter(({ needs }) => needs.includes(need)))}`,
    ),
    `run whole: ${whole.length === 0 ? 'none of the files that need a broker' : filesOf(whole)}`,
  ]
}

function filesOf(suites: readonly BrokerSuite[]): string {
  return suites.map(({ file }) => file).join(' ')
}
