// A DBOS data source on pg: the step's effect and its record in one transaction. DBOS publishes the interface (@dbos-inc/dbos-sdk/datasource),
// but no source of its version 5 for pg.
import { AsyncLocalStorage } from 'node:async_hooks'
import {
  initializeDataSourceSchemaPG,
  isPGKeyConflictError,
  isPGRetriableTransactionError,
  replayRecordedStep,
  type DataSourceTransactionHandler,
} from '@dbos-inc/dbos-sdk/datasource'
import { DBOS } from '@dbos-inc/dbos-sdk'
import pg from 'pg'

const RECORD = {
  name: 'record',
  text: 'insert into dbos.transaction_completion (workflow_id, function_num, output) values ($1, $2, $3)',
}

export class PgDataSource implements DataSourceTransactionHandler {
  readonly name = 'bank'
  readonly #pool: pg.Pool
  readonly #clients = new AsyncLocalStorage<pg.ClientBase>()

  constructor(url: string, connections: number) {
    this.#pool = new pg.Pool({ connectionString: url, max: connections })
    this.#pool.on('error', () => undefined)
  }

  /** The client of the transaction that this is called in. */
  get client(): pg.ClientBase {
    const client = this.#clients.getStore()
    if (client === undefined) throw new Error('there is no transaction here')
    return client
  }

  async initialize(): Promise<void> {
    const client = await this.#pool.connect()
    try {
      await client.query('begin')
      await initializeDataSourceSchemaPG(async (sql) => (await client.query<Record<string, unknown>>(sql)).rows)
      await client.query('commit')
    } finally {
      client.release()
    }
  }

  destroy(): Promise<void> {
    return this.#pool.end()
  }

  async invokeTransactionFunction<This, Args extends unknown[], Return>(
    config: unknown,
    target: This,
    func: (this: This, ...args: Args) => Promise<Return>,
    ...args: Args
  ): Promise<Return> {
    try {
      return await this.#transaction(() => func.call(target, ...args))
    } catch (error) {
      if (isPGRetriableTransactionError(error)) return this.invokeTransactionFunction(config, target, func, ...args)
      if (!isPGKeyConflictError(error)) throw error
      // It was done before, by an execution that did not live to say so: its record is the answer.
      const { rows } = await this.#pool.query<{ output: string | null; error: string | null }>(
        'select output, error from dbos.transaction_completion where workflow_id = $1 and function_num = $2',
        [DBOS.workflowID, DBOS.stepID],
      )
      if (rows[0] === undefined) throw error
      return replayRecordedStep(rows[0]) as Return
    }
  }

  async #transaction<Return>(run: () => Promise<Return>): Promise<Return> {
    const client = await this.#pool.connect()
    try {
      await client.query('begin')
      const result = await this.#clients.run(client, run)
      await client.query({ ...RECORD, values: [DBOS.workflowID, DBOS.stepID, JSON.stringify({ json: result ?? null })] })
      await client.query('commit')
      return result
    } catch (error) {
      await client.query('rollback')
      throw error
    } finally {
      client.release()
    }
  }
}
