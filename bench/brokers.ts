// The brokers of scenarios: a Kafka node of the scenario's own, and the RabbitMQ that is there.
import { startKafka } from '../test/brokers/kafka/node.ts'
import { removeQueuesOf } from '../test/support/rabbitmq.ts'

/** `KAFKA_BROKERS` names a node that is there while `use` runs. */
export async function withKafkaNode<Value>(use: () => Promise<Value>): Promise<Value> {
  const kafka = await startKafka({ isLongLived: true })
  const before = process.env['KAFKA_BROKERS']
  process.env['KAFKA_BROKERS'] = kafka.brokers
  try {
    return await use()
  } finally {
    if (before === undefined) delete process.env['KAFKA_BROKERS']
    else process.env['KAFKA_BROKERS'] = before
    await kafka.stop()
  }
}

/** RabbitMQ at AMQP_URL, or where it listens by itself: nothing of the app in `url` is left there afterwards. */
export async function withQueuesRemoved<Value>(url: string, use: () => Promise<Value>): Promise<Value> {
  try {
    return await use()
  } finally {
    await removeQueuesOf(url)
  }
}
