// graphile-worker: batch jobs, a local queue, completions in batches. See README.md.
import { Logger, makeWorkerUtils, run, type JobHelpers } from 'graphile-worker'
import { grouped } from '../grouped.ts'
import { runPeer, type Credit, type Peer } from '../peer.ts'
import { CREDIT_MANY_ONCE } from '../tables.ts'
import { Waiters } from '../waiters.ts'

/** Commands of one batch job. */
const BATCH_SIZE = 500

await runPeer({
  lacks: 'order per account; deduplication and event by hand; completed apart from the effect; replies',
  async start({ url, concurrency }): Promise<Peer> {
    const waiters = new Waiters()
    const logger = new Logger(() => (level, message) => void (level === 'error' && process.stderr.write(`graphile-worker: ${message}\n`)))
    const utils = await makeWorkerUtils({ connectionString: url, logger })
    await utils.migrate()
    const credit = async (payload: unknown, helpers: JobHelpers): Promise<void> => {
      const credits = payload as readonly Credit[]
      await helpers.query(CREDIT_MANY_ONCE, [credits.map(({ id }) => id), credits.map(({ account }) => account)])
      for (const { id } of credits) waiters.done(id)
    }
    const runner = await run({
      taskList: { credit },
      preset: {
        worker: {
          connectionString: url,
          logger,
          concurrentJobs: concurrency,
          maxPoolSize: concurrency + 2,
          localQueue: { size: concurrency + 1 },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
    })
    const enqueue = grouped<Credit>(BATCH_SIZE, (credits) => utils.addJob('credit', credits))
    const send = async (one: Credit): Promise<void> => {
      const done = waiters.until(one.id)
      await enqueue(one)
      await done
    }
    return {
      credit: send,
      async stop() {
        await runner.stop()
        await utils.release()
      },
    }
  },
})
