// BullMQ: bulk adds, one worker with many jobs at once, on a Redis that writes through; the effect is a statement in PostgreSQL. See README.md.
import { Queue, Worker, type Job } from 'bullmq'
import { Redis } from 'ioredis'
import pg from 'pg'
import { freePort } from '../free-port.ts'
import { grouped } from '../grouped.ts'
import { startServer } from '../own-server.ts'
import { runPeer, type Credit, type Peer } from '../peer.ts'
import { CREDIT_ONCE } from '../tables.ts'
import { Waiters } from '../waiters.ts'

/** Jobs of one bulk add. */
const BULK_SIZE = 500

/** More connections than this only wait for each other on two cores. */
const CONNECTIONS_MAX = 32

await runPeer({
  lacks: 'order per account; deduplication and event by hand; one transaction for queue and effect; replies',
  async start({ url, concurrency, scratch }): Promise<Peer> {
    const port = await freePort()
    const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '', '--maxmemory-policy', 'noeviction']
    const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null }
    const server = await startServer('redis-server', ['--bind', '127.0.0.1', '--port', String(port), '--dir', scratch, ...durable], {
      cwd: scratch,
      ready: () => versionOf(port),
    })
    const waiters = new Waiters()
    const pool = new pg.Pool({ connectionString: url, max: Math.min(concurrency, CONNECTIONS_MAX) })
    pool.on('error', () => undefined)
    const queue = new Queue<Credit>('credits', { connection, defaultJobOptions: { removeOnComplete: true } })
    const work = async ({ data: { id, account } }: Job<Credit>): Promise<void> => {
      await pool.query({ ...CREDIT_ONCE, values: [id, account] })
      waiters.done(id)
    }
    const worker = new Worker<Credit>('credits', work, { connection, concurrency })
    worker.on('error', (error) => process.stderr.write(`bullmq: ${error.message}\n`))
    await worker.waitUntilReady()
    const enqueue = grouped<Credit>(BULK_SIZE, (credits) =>
      queue.addBulk(credits.map((credit) => ({ name: 'credit', data: credit, opts: { jobId: credit.id } }))),
    )
    return {
      versions: { redis: await versionOf(port) },
      async credit(credit) {
        const done = waiters.until(credit.id)
        await enqueue(credit)
        await done
      },
      async stop() {
        await worker.close()
        await queue.close()
        await pool.end()
        await server.stop()
      },
    }
  },
})

async function versionOf(port: number): Promise<string> {
  const redis = new Redis({ host: '127.0.0.1', port, lazyConnect: true, retryStrategy: () => null })
  redis.on('error', () => undefined)
  try {
    await redis.connect()
    return /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? ''
  } finally {
    redis.disconnect()
  }
}
