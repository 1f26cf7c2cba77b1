// The one connection on which a server is looked at. Nothing on it takes longer than a check may.
import type pg from 'pg'
import { connectPatiently, shownUrl } from '../../adapters/postgres/preflight.ts'
import { sqlState } from '../../adapters/postgres/pg-errors.ts'
import { isTwofoldError } from '../../errors.ts'
import { pause } from '../../runtime/backoff.ts'

const CONNECT_MS_MAX = 2000
const STATEMENT_MS_MAX = 4000
const END_MS_MAX = 500

export interface Session {
  readonly url: string
  /** For people: without user and password. */
  readonly shown: string
  /** As the server tells it: `18.4`. */
  readonly version: string
  readonly client: pg.Client
  rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>
  row<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row>
  /** Runs a look and notes when the connection broke or fell silent meanwhile. */
  noting<Result>(look: () => Promise<Result>): Promise<Result>
  /** Whether it did: then there is no use in asking further. */
  isLost(): boolean
  end(): Promise<void>
}

/** @throws TwofoldError, see `connectPatiently` */
export async function openSession(url: string): Promise<Session> {
  const client = await connectPatiently(url, {
    patienceMs: CONNECT_MS_MAX,
    applicationName: 'twofold doctor',
    settings: { statement_timeout: STATEMENT_MS_MAX, query_timeout: STATEMENT_MS_MAX + 500 },
  })
  const version = await versionOf(client)
  let lost = false
  const rows = async <Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> =>
    (await client.query<Row>(text, [...values])).rows
  return {
    url,
    shown: shownUrl(url),
    version,
    client,
    rows,
    async row<Row extends object>(text: string, values?: readonly unknown[]) {
      const [first] = await rows<Row>(text, values)
      if (first === undefined) throw new Error(`PostgreSQL answered nothing to: ${text}`)
      return first
    },
    async noting(look) {
      try {
        return await look()
      } catch (error) {
        // What the server or Twofold says is an answer; anything else is none.
        lost ||= sqlState(error) === undefined && !isTwofoldError(error)
        throw error
      }
    },
    isLost: () => lost,
    end: () => close(client),
  }
}

async function versionOf(client: pg.Client): Promise<string> {
  try {
    const { rows } = await client.query<{ version: string }>(`select current_setting('server_version') as version`)
    return rows[0]?.version ?? 'of an unknown version'
  } catch (error) {
    await close(client)
    throw error
  }
}

/** A frozen connection never says goodbye. */
function close(client: pg.Client): Promise<void> {
  return Promise.race([client.end().catch(() => undefined), pause(END_MS_MAX)])
}
