// DBOS: a workflow for each command, named by the command's id, with one transactional step. See README.md.
import { DBOS } from '@dbos-inc/dbos-sdk'
import { registerDataSource, runTransaction } from '@dbos-inc/dbos-sdk/datasource'
import { runPeer, type Peer } from '../peer.ts'
import { CREDIT } from '../tables.ts'
import { PgDataSource } from './data-source.ts'

await runPeer({
  lacks: 'order per account; event by hand; the workflow ends apart from the effect; batches',
  async start({ url, concurrency }): Promise<Peer> {
    const source = new PgDataSource(url, concurrency)
    registerDataSource(source)
    const credit = DBOS.registerWorkflow(
      (id: string, account: string) =>
        runTransaction(
          async () => Number((await source.client.query<{ cents: string }>({ ...CREDIT, values: [id, account] })).rows[0]?.cents),
          'credit',
          { dsName: source.name },
        ),
      { name: 'credit' },
    )
    DBOS.setConfig({ name: 'bank', systemDatabaseUrl: url, systemDatabasePoolSize: concurrency, logLevel: 'error' })
    await DBOS.launch()
    return {
      async credit({ id, account }) {
        const handle = await DBOS.startWorkflow(credit, { workflowID: id })(id, account)
        await handle.getResult()
      },
      stop: () => DBOS.shutdown(),
    }
  },
})
