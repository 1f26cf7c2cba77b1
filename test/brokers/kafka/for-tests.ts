// Which Kafka a test uses: the one that `KAFKA_BROKERS` names, or a node of the test's own where its jars are at hand.
import { isKafkaFetched, KAFKA_VERSION, startKafka } from './node.ts'

const named = process.env['KAFKA_BROKERS']

/** Whether tests that need a Kafka can run. */
export const hasKafka = (named !== undefined && named !== '') || isKafkaFetched()

/** Whether tests can run that take a node of their own away. */
export const hasKafkaNode = isKafkaFetched()

/** Which of the tests that need a Kafka run, in one sentence. */
export function kafkaSentence(): string {
  const own = `Kafka ${KAFKA_VERSION}, nodes of the tests' own`
  if (named !== undefined && named !== '') return hasKafkaNode ? `Kafka at ${named}; ${own}` : `Kafka at ${named}; none of the tests' own`
  return hasKafkaNode ? own : "no Kafka, its tests are skipped: fetch it with 'npm run kafka -- --fetch', or set KAFKA_BROKERS"
}

export interface KafkaForTests {
  readonly brokers: string[]
  stop(): Promise<void>
}

export async function kafkaForTests(): Promise<KafkaForTests> {
  if (named !== undefined && named !== '') return { brokers: named.split(','), stop: () => Promise.resolve() }
  const node = await startKafka()
  return { brokers: [node.brokers], stop: () => node.stop() }
}
