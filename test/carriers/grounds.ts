// What the conformance suite is run on: each carrier that this machine reaches, by way of something that can be cut.
import type { ConformanceGround } from 'twofold/testing'
import { memoryCarrier } from 'twofold/testing'
import { rabbitmqCarrier } from '../../src/adapters/rabbitmq/rabbitmq-carrier.ts'
import { kafkaCarrier } from '../../src/adapters/kafka/carrier.ts'
import { hasKafkaNode } from '../brokers/kafka/for-tests.ts'
import { freePort, startKafka, type KafkaNode } from '../brokers/kafka/node.ts'
import { testDatabase } from '../support/database.ts'
import { proxyTo, type Proxy } from '../support/proxy.ts'
import { amqpUrl, reaches, removeQueues } from '../support/rabbitmq.ts'

export interface Ground {
  readonly name: string
  /** Where it is to be found; undefined: it needs no broker. */
  readonly at?: string
  readonly isThere: boolean
  /** Once before the first case, and once after the last. */
  start?(): Promise<void>
  stop?(): Promise<void>
  make(): Promise<ConformanceGround>
}

let made = 0

/** Part of the names at the broker: no other test, and no other run, has it. */
export function appName(): string {
  made += 1
  return `conformance-${process.pid}-${made}`
}

export const grounds: readonly Ground[] = [
  { name: 'postgres', isThere: true, make: onPostgres },
  { name: 'memory', isThere: true, make: inMemory },
  { name: 'rabbitmq', at: amqpUrl, isThere: await reaches(amqpUrl, 5672), make: onRabbitMq },
  kafka(),
]

async function onPostgres(): Promise<ConformanceGround> {
  const database = await testDatabase()
  const proxy = await proxyTo(database.url)
  return {
    url: database.url,
    app: appName(),
    carrier: undefined,
    options: { url: proxy.url },
    cut: () => proxy.cut(),
    restore: () => proxy.restore(),
    async [Symbol.asyncDispose]() {
      await proxy.close().catch(() => undefined)
      await database.drop()
    },
  }
}

async function inMemory(): Promise<ConformanceGround> {
  const database = await testDatabase()
  const carrier = memoryCarrier()
  return {
    url: database.url,
    app: appName(),
    carrier,
    options: { carrier },
    cut: () => Promise.resolve(carrier.cut()),
    restore: () => Promise.resolve(carrier.restore()),
    [Symbol.asyncDispose]: () => database.drop(),
  }
}

async function onRabbitMq(): Promise<ConformanceGround> {
  const database = await testDatabase()
  const proxy = await proxyTo(amqpUrl)
  const app = appName()
  return {
    url: database.url,
    app,
    carrier: rabbitmqCarrier(proxy.url),
    options: { carrier: 'rabbitmq', amqpUrl: proxy.url },
    cut: () => proxy.cut(),
    restore: () => proxy.restore(),
    async [Symbol.asyncDispose]() {
      await proxy.close().catch(() => undefined)
      await removeQueues(app, 2, 8)
      await database.drop()
    },
  }
}

/** A node of the suite's own: clients go where a Kafka tells them to, so it has to tell them of the proxy. */
function kafka(): Ground {
  let node: KafkaNode
  let proxy: Proxy
  return {
    name: 'kafka',
    isThere: hasKafkaNode,
    async start() {
      const port = await freePort()
      proxy = await proxyTo(`tcp://127.0.0.1:${port}`)
      node = await startKafka({ port, advertisedPort: Number(new URL(proxy.url).port) })
    },
    async stop() {
      await node.stop()
      await proxy.close()
    },
    async make() {
      const database = await testDatabase()
      const brokers = [node.brokers]
      return {
        url: database.url,
        app: appName(),
        carrier: kafkaCarrier({ brokers }),
        options: { carrier: 'kafka', kafkaBrokers: brokers },
        cut: () => proxy.cut(),
        restore: () => proxy.restore(),
        [Symbol.asyncDispose]: () => database.drop(),
      }
    },
  }
}
