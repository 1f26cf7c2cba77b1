// NestJS microservices over RabbitMQ: confirmed persistent messages, acknowledged after the effect's commit. See README.md.
import 'reflect-metadata'
import { randomUUID } from 'node:crypto'
import { Controller, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import {
  ClientProxyFactory,
  Ctx,
  EventPattern,
  Payload,
  Transport,
  type ClientProxy,
  type RmqContext,
  type RmqOptions,
} from '@nestjs/microservices'
import { connect } from 'amqplib'
import pg from 'pg'
import { lastValueFrom } from 'rxjs'
import { runPeer, type Credit, type Peer } from '../peer.ts'
import { CREDIT_ONCE } from '../tables.ts'
import { Waiters } from '../waiters.ts'

/** More connections than this only wait for each other on two cores. */
const CONNECTIONS_MAX = 32

await runPeer({
  lacks: 'order per account; deduplication and event by hand; one transaction for queue and effect; replies',
  async start({ url, concurrency }): Promise<Peer> {
    const broker = process.env['AMQP_URL'] ?? 'amqp://guest:guest@127.0.0.1:5672'
    const queue = `bench-${randomUUID()}`
    const connection = await connect(broker).catch((error: Error) => {
      throw new Error(`no RabbitMQ answers at ${new URL(broker).host}: ${error.message}; start one, or name it in AMQP_URL`)
    })
    const waiters = new Waiters()
    const pool = new pg.Pool({ connectionString: url, max: Math.min(concurrency, CONNECTIONS_MAX) })
    pool.on('error', () => undefined)
    const options = { urls: [broker], queue, queueOptions: { durable: true }, persistent: true }
    const app = await NestFactory.createMicroservice<RmqOptions>(moduleOf(pool, waiters), {
      transport: Transport.RMQ,
      options: { ...options, noAck: false, prefetchCount: concurrency },
      logger: ['error'],
    })
    await app.listen()
    const client: ClientProxy = ClientProxyFactory.create({ transport: Transport.RMQ, options })
    await client.connect()
    return {
      versions: { rabbitmq: String(connection.connection.serverProperties['version']) },
      async credit(credit) {
        const done = waiters.until(credit.id)
        await lastValueFrom(client.emit('credit', credit), { defaultValue: undefined })
        await done
      },
      async stop() {
        await client.close()
        await app.close()
        const channel = await connection.createChannel()
        await channel.deleteQueue(queue)
        await connection.close()
        await pool.end()
      },
    }
  },
})

/** What decorators would say: Node runs TypeScript as it stands, and leaves decorators to others. */
function moduleOf(pool: pg.Pool, waiters: Waiters): new () => object {
  class Credits {
    async credit({ id, account }: Credit, context: RmqContext): Promise<void> {
      await pool.query({ ...CREDIT_ONCE, values: [id, account] })
      context.getChannelRef().ack(context.getMessage())
      waiters.done(id)
    }
  }
  const { prototype } = Credits
  EventPattern('credit')(prototype, 'credit', Object.getOwnPropertyDescriptor(prototype, 'credit') as PropertyDescriptor)
  Payload()(prototype, 'credit', 0)
  Ctx()(prototype, 'credit', 1)
  Controller()(Credits)
  class Bank {}
  Module({ controllers: [Credits] })(Bank)
  return Bank
}
