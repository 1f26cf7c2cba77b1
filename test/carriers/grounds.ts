// What the conformance suite is run on: each carrier that this machine reaches, by way of something that can be cut.
import type { ConformanceGround } from 'twofold/testing'
import { memoryCarrier } from 'twofold/testing'
import { rabbitmqCarrier } from '../../src/adapters/rabbitmq/rabbitmq-carrier.ts'
import { testDatabase } from '../support/database.ts'
import { proxyTo } from '../support/proxy.ts'
import { amqpUrl, reaches, removeQueues } from '../support/rabbitmq.ts'

export interface Ground {
  readonly name: string
  /** Where it is to be found; undefined: it needs no broker. */
  readonly at?: string
  readonly isThere: boolean
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
