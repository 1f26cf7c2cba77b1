// pg-boss: bulk inserts, batches, and the handler's work in the transaction that completes the jobs. See README.md.
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { PgBoss, type Db, type Job } from 'pg-boss'
import { grouped } from '../grouped.ts'
import { runPeer, type Credit, type Peer } from '../peer.ts'
import { CREDIT_MANY } from '../tables.ts'
import { Waiters } from '../waiters.ts'

const QUEUE = 'credits'

/** Jobs of one fetch and of one insert. */
const BATCH_SIZE = 500

/** How long repeated jobs may take. */
const EMPTY_MS = 10_000

await runPeer({
  lacks: 'order per account; event by hand; replies',
  async start({ url, concurrency }): Promise<Peer> {
    const waiters = new Waiters()
    const pool = new pg.Pool({ connectionString: url, max: concurrency + 4 })
    pool.on('error', () => undefined)
    const boss = new PgBoss({ db: databaseOf(pool, waiters), supervise: false, schedule: false })
    boss.on('error', (error) => process.stderr.write(`pg-boss: ${error.message}\n`))
    await boss.start()
    await boss.createQueue(QUEUE)
    const options = { batchSize: BATCH_SIZE, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5, transactional: true } as const
    const work = async (jobs: readonly Job<Credit>[], tx: Db): Promise<void> => {
      await tx.executeSql(CREDIT_MANY, [jobs.map(({ id }) => id), jobs.map(({ data }) => data.account)])
    }
    const workers = await Promise.all(
      Array.from({ length: concurrency }, () => boss.work<Credit, void, typeof options>(QUEUE, options, work)),
    )
    let next = 0
    const insert = async (credits: readonly Credit[]): Promise<void> => {
      await boss.insert(
        QUEUE,
        credits.map((credit) => ({ id: credit.id, data: credit })),
      )
      boss.notifyWorker(workers[(next += 1) % workers.length] as string)
    }
    const enqueue = grouped(BATCH_SIZE, insert)
    return {
      async credit(credit) {
        const done = waiters.until(credit.id)
        await enqueue(credit)
        await done
      },
      // A job whose id is there already should not be inserted; if one were, it has run by the time the queue is empty.
      async repeat(credits) {
        await insert(credits)
        await emptied(pool)
      },
      async stop() {
        await boss.stop({ graceful: true })
        await pool.end()
      },
    }
  },
})

async function emptied(pool: pg.Pool): Promise<void> {
  const until = performance.now() + EMPTY_MS
  while ((await pool.query(`select 1 from pgboss.job where name = $1 and state < 'completed' limit 1`, [QUEUE])).rowCount !== 0) {
    if (performance.now() > until) throw new Error(`jobs still wait ${EMPTY_MS} ms after they were inserted`)
    await delay(10)
  }
}

/** A pool as pg-boss takes one, which also tells whose jobs were in a transaction once it is committed. */
function databaseOf(pool: pg.Pool, waiters: Waiters): Db {
  return {
    executeSql: (text, values) => pool.query(text, values),
    async beginTransaction() {
      const client = await pool.connect()
      const ids: string[] = []
      const end = async (how: 'commit' | 'rollback'): Promise<void> => {
        await client.query(how).finally(() => client.release())
      }
      await client.query('begin')
      return {
        db: {
          executeSql(text, values) {
            if (text === CREDIT_MANY) ids.push(...(values as [string[]])[0])
            return client.query(text, values)
          },
        },
        async commit() {
          await end('commit')
          for (const id of ids) waiters.done(id)
        },
        rollback: () => end('rollback').catch(() => undefined),
      }
    },
  }
}
