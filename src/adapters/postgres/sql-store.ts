// The door of SQL handlers to PostgreSQL: connections of their own, each with one transaction at a time.
import pg from 'pg'
import type { EffectBatch } from '../../ports/effect-store.ts'
import type { SqlSession, SqlStore } from '../../ports/sql-store.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import { connectionSettings } from './database.ts'
import { end, guarded } from './guarded-query.ts'
import { lockHolderName } from './lock-holders.ts'
import { PostgresSqlSession } from './sql-session.ts'

export interface SqlStoreOptions {
  readonly url: string
  /** Whose locks these are, for whoever takes over from it. */
  readonly instanceId: string
  readonly leaseMs: number
  /** How long one statement of a handler may take. */
  readonly statementMs: number
  /** Called after every commit, with what others may be waiting for. */
  readonly onCommitted: (batch: EffectBatch) => void
  readonly crash?: CrashPoints | undefined
}

const CUT = `select pg_terminate_backend(pid, 1000) from pg_stat_activity where pid = $1 and application_name = $2`

export class PostgresSqlStore implements SqlStore {
  readonly #options: SqlStoreOptions

  constructor(options: SqlStoreOptions) {
    this.#options = options
  }

  async open(): Promise<SqlSession> {
    const { statementMs } = this.#options
    const client = await this.#connect({ pipeline: true, statement_timeout: statementMs, query_timeout: statementMs + ANSWER_MS })
    const { processID } = client as pg.Client & { readonly processID: number | null }
    const { leaseMs, onCommitted, crash } = this.#options
    const terminate = (): Promise<void> => this.#terminate(processID)
    return new PostgresSqlSession(client, { terminate, finishMs: Math.floor(leaseMs / 3), onCommitted, crash })
  }

  /** By another connection: what is under way on the session's own cannot be interrupted from there. */
  async #terminate(pid: number | null): Promise<void> {
    const client = await this.#connect({})
    try {
      await client.query(CUT, [pid, lockHolderName(this.#options.instanceId)])
    } finally {
      await end(client)
    }
  }

  async #connect(settings: pg.ClientConfig): Promise<pg.Client> {
    const { url, instanceId, leaseMs } = this.#options
    const client = new pg.Client({ ...connectionSettings(url, lockHolderName(instanceId), { leaseMs }), ...settings })
    client.on('error', () => undefined)
    await guarded(() => client.connect())
    return client
  }
}

/** How much longer than the statement its answer may take. */
const ANSWER_MS = 5000
