// `npm run test:brokers` begins here: where a broker is missing it ends here, with one sentence for each, before any test is skipped for it.
import { amqpUrl, reaches } from '../support/rabbitmq.ts'
import { hasKafkaNode } from './kafka/for-tests.ts'
import { hasRabbitMqNode } from './rabbitmq/for-tests.ts'

const missing = [
  ...((await reaches(amqpUrl, 5672))
    ? []
    : [`RabbitMQ does not answer at ${new URL(amqpUrl).host}: start one ('npm run rabbitmq' does), or set AMQP_URL to where it is`]),
  ...(hasRabbitMqNode ? [] : ['RabbitMQ is not installed here, so none can be restarted: test/brokers/rabbitmq/install.sh installs it']),
  ...(hasKafkaNode ? [] : ["Kafka is not there: 'npm run kafka -- --fetch' fetches it (Java 17 or newer, and Maven)"]),
]
for (const sentence of missing) process.stderr.write(`${sentence}\n`)
if (missing.length > 0) process.exitCode = 1
