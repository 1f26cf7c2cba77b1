// What the conformance suite is run on: each carrier that this machine reaches, by way of something that can be cut.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { memoryCarrier, type ConformanceGround, type ConformanceSubject } from 'twofold/testing'
import { postgresLogFeatures } from '../../src/adapters/postgres/command-log.ts'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/adapters/postgres/embedded/embedded-postgres.ts'
import { readPidFile } from '../../src/adapters/postgres/embedded/server-processes.ts'
import { rabbitmqFeatures } from '../../src/adapters/rabbitmq/features.ts'
import { rabbitmqCarrier } from '../../src/adapters/rabbitmq/rabbitmq-carrier.ts'
import { kafkaCarrier } from '../../src/adapters/kafka/carrier.ts'
import { kafkaFeatures } from '../../src/adapters/kafka/features.ts'
import { hasKafkaNode } from '../brokers/kafka/for-tests.ts'
import { backSoon, startKafka, type KafkaNode } from '../brokers/kafka/node.ts'
import { hasRabbitMqNode } from '../brokers/rabbitmq/for-tests.ts'
import { startRabbitMq, type RabbitMqNode } from '../brokers/rabbitmq/node.ts'
import { until } from '../e2e/program.ts'
import { testDatabase } from '../support/database.ts'
import { freePort } from '../support/free-port.ts'
import { proxyTo, type Proxy } from '../support/proxy.ts'
import { amqpUrl, reaches, removeQueues, removeQueuesOf } from '../support/rabbitmq.ts'

export interface Ground {
  readonly name: string
  readonly isThere: boolean
  readonly subject: ConformanceSubject
  /** Once before the first case, and once after the last. */
  start?(): Promise<void>
  stop?(): Promise<void>
}

let made = 0

/** Part of the names at the broker: no other test, and no other run, has it. */
function appName(): string {
  made += 1
  return `conformance-${process.pid}-${made}`
}

export const grounds: readonly Ground[] = [postgres(), memory(), hasRabbitMqNode ? rabbitMq() : await namedRabbitMq(), kafka()]

/** A server of the suite's own, which keeps itself alive: whatever ends it, it comes back by itself. */
function postgres(): Ground {
  let folder: string
  let server: EmbeddedPostgres
  const end = (how: 'in order' | 'killed'): void => {
    const pid = readPidFile(join(folder, 'postgres'))?.pid
    if (pid === undefined) throw new Error('the server of this suite does not run')
    process.kill(pid, how === 'killed' ? 'SIGKILL' : 'SIGINT')
  }
  const answers = async (): Promise<boolean> => {
    const client = new pg.Client({ connectionString: server.url })
    client.on('error', () => undefined)
    return client.connect().then(
      () => client.end().then(() => true),
      () => false,
    )
  }
  return {
    name: 'postgres',
    isThere: true,
    async start() {
      folder = await mkdtemp(join(tmpdir(), 'twofold-conformance-'))
      server = await startEmbeddedPostgres({ dataDir: folder })
    },
    async stop() {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
    subject: {
      features: postgresLogFeatures,
      broker: {
        async end(how) {
          end(how)
          await until('the server is gone', async () => !(await answers()))
        },
        start: () => until('the server is back', answers, 60_000),
      },
      async ground() {
        const database = await testDatabase(server.url)
        const proxy = await proxyTo(database.url)
        return {
          url: database.url,
          app: appName(),
          carrier: undefined,
          options: { url: proxy.url },
          ...cutAt(proxy),
          async [Symbol.asyncDispose]() {
            await proxy.close().catch(() => undefined)
            await database.drop()
          },
        }
      },
    },
  }
}

function memory(): Ground {
  const { features } = memoryCarrier()
  const ground = async (): Promise<ConformanceGround> => {
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
  return { name: 'memory', isThere: true, subject: { features, ground } }
}

/**
 * RabbitMQ writes the term of a new queue to its disk within 5 s (`meta.dets`). Where 3.10.8 was killed earlier, some queue had no leader once it was
 * back, took nothing and gave nothing, in 3 of 7 runs; killed later in none of 16. That is the broker's own, and nothing a carrier could mend.
 */
const RABBITMQ_KEEPS_MS = 6000

/** A node of the suite's own, which can be taken away. */
function rabbitMq(): Ground {
  let node: RabbitMqNode
  return {
    name: 'rabbitmq',
    isThere: true,
    async start() {
      node = await startRabbitMq()
    },
    stop: () => node.stop(),
    subject: {
      features: rabbitmqFeatures,
      broker: {
        async end(how) {
          if (how === 'in order') return node.shutDown()
          await delay(RABBITMQ_KEEPS_MS)
          await node.kill()
        },
        start: () => node.start(),
      },
      ground: () => onRabbitMq(node.url),
    },
  }
}

/** Where none is installed: one that others use, too, and that stays as it is. */
async function namedRabbitMq(): Promise<Ground> {
  const isThere = await reaches(amqpUrl, 5672)
  return { name: 'rabbitmq', isThere, subject: { features: rabbitmqFeatures, ground: () => onRabbitMq(amqpUrl) } }
}

async function onRabbitMq(url: string): Promise<ConformanceGround> {
  const database = await testDatabase()
  const proxy = await proxyTo(url)
  const app = appName()
  return {
    url: database.url,
    app,
    carrier: rabbitmqCarrier(proxy.url),
    options: { carrier: 'rabbitmq', amqpUrl: proxy.url },
    ...cutAt(proxy),
    async [Symbol.asyncDispose]() {
      await proxy.close().catch(() => undefined)
      // Those of the app, and those of the cases that know no database.
      await removeQueuesOf(database.url, url)
      for (const databaseId of ['00000000', '11111111']) await removeQueues({ app, databaseId, partitionCount: 2 }, url)
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
      node = await startKafka({ port, advertisedPort: Number(new URL(proxy.url).port), settings: backSoon })
    },
    async stop() {
      await node.stop()
      await proxy.close()
    },
    subject: {
      features: kafkaFeatures,
      broker: {
        end: (how) => (how === 'killed' ? node.kill() : node.shutDown()),
        start: () => node.start(),
      },
      async ground() {
        const database = await testDatabase()
        const brokers = [node.brokers]
        return {
          url: database.url,
          app: appName(),
          carrier: kafkaCarrier({ brokers }),
          options: { carrier: 'kafka', kafkaBrokers: brokers },
          ...cutAt(proxy),
          [Symbol.asyncDispose]: () => database.drop(),
        }
      },
    },
  }
}

function cutAt(proxy: Proxy): Pick<ConformanceGround, 'cut' | 'restore'> {
  return { cut: () => proxy.cut(), restore: () => proxy.restore() }
}
