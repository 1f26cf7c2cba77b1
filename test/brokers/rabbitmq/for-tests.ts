// Which RabbitMQ a test uses: the one that `AMQP_URL` names, or what listens where RabbitMQ does by itself; and for what takes it away a
// node of the test's own, where RabbitMQ is installed.
import { amqpUrl, reaches } from '../../support/rabbitmq.ts'
import { isRabbitMqInstalled } from './node.ts'

/** Whether tests can run that take a node of their own away. */
export const hasRabbitMqNode = isRabbitMqInstalled()

/** Which of the tests that need a RabbitMQ run, in one sentence. */
export async function rabbitMqSentence(): Promise<string> {
  const { host } = new URL(amqpUrl)
  const own = hasRabbitMqNode
    ? "nodes of the tests' own"
    : "none of the tests' own, which needs it installed (test/brokers/rabbitmq/install.sh)"
  if (await reaches(amqpUrl, 5672)) return `RabbitMQ at ${host}; ${own}`
  return `no RabbitMQ at ${host}, most of its tests are skipped: start one ('npm run rabbitmq'), or set AMQP_URL; ${own}`
}
