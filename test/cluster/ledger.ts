// Several processes of the ledger on one database: who owns what, and requests to each of them.
import pg from 'pg'
import { partitionOf, type SlotMap } from '../../src/ports/slots.ts'
import { addressOf, startProgram, until, type Program } from '../e2e/program.ts'
import type { TestDatabase } from '../support/database.ts'

export interface Node {
  readonly program: Program
  readonly address: string
  readonly id: string
}

export interface Answered {
  readonly status: number
  readonly commandId: string
}

export class Ledger {
  readonly client: pg.Pool
  readonly #database: TestDatabase
  readonly #leaseMs: number
  readonly #programs: Program[] = []

  constructor(database: TestDatabase, leaseMs: number) {
    this.#database = database
    this.#leaseMs = leaseMs
    this.client = new pg.Pool({ connectionString: database.url, max: 4 })
  }

  get url(): string {
    return this.#database.url
  }

  /** Starts a process; it is the newest instance then. */
  async start(environment: Record<string, string> = {}): Promise<Node> {
    const settings = { DATABASE_URL: this.#database.url, TWOFOLD_LEASE_MS: String(this.#leaseMs), LOG_LEVEL: 'warn' }
    const program = startProgram('test/cluster/ledger-app.ts', { ...settings, ...environment })
    this.#programs.push(program)
    const address = await addressOf(program)
    const { rows } = await this.client.query<{ id: string }>('select id from twofold.instance order by started_at desc limit 1')
    return { program, address, id: rows[0]?.id ?? '' }
  }

  /** How many partitions each of these instances owns. */
  async shares(...nodes: readonly Node[]): Promise<number[]> {
    const { rows } = await this.client.query<{ owner: string; count: number }>(
      'select owner, count(*)::int as count from twofold.partition where owner is not null group by owner',
    )
    return nodes.map(({ id }) => rows.find(({ owner }) => owner === id)?.count ?? 0)
  }

  untilShared(...nodes: readonly Node[]): Promise<void> {
    const share = 64 / nodes.length
    return until('every instance has its share', async () => (await this.shares(...nodes)).every((count) => Math.abs(count - share) < 1))
  }

  /** So many accounts whose home is with this instance right now. */
  async accountsOf({ id }: Node, count: number, prefix = 'account'): Promise<string[]> {
    const slots = await this.client.query<{ partition: number }>('select partition from twofold._slot order by slot')
    const map: SlotMap = { partitionCount: 64, partitionOf: slots.rows.map((row) => row.partition) }
    const owned = await this.client.query<{ partition: number }>('select partition from twofold.partition where owner = $1', [id])
    const own = new Set(owned.rows.map((row) => row.partition))
    const accounts: string[] = []
    for (let at = 0; accounts.length < count; at += 1) {
      const account = `${prefix}-${at}`
      if (own.has(partitionOf(map, 'ledger', account))) accounts.push(account)
    }
    return accounts
  }

  /** Sends a command; with `prefer: respond-async` it is accepted, otherwise its result is waited for. */
  async send({ address }: Node, command: string, input: object, headers: Record<string, string> = {}): Promise<Answered> {
    const answer = await fetch(`${address}/ledger/${command}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(input),
    })
    await answer.arrayBuffer()
    return { status: answer.status, commandId: answer.headers.get('twofold-command-id') ?? '' }
  }

  accept(node: Node, command: string, input: object): Promise<Answered> {
    return this.send(node, command, input, { prefer: 'respond-async' })
  }

  async count(what: string): Promise<number> {
    return Number((await this.client.query(`select count(*) from twofold.${what}`)).rows[0].count)
  }

  /** What must hold of every history: nothing waits, no money is made, every version is one event of its key's commands. */
  async states(): Promise<Record<string, { readonly balance: number; readonly numbers: readonly number[]; readonly version: number }>> {
    const { rows } = await this.client.query('select key, version::int, state from twofold.entity')
    return Object.fromEntries(rows.map(({ key, version, state }) => [key, { version, ...state }]))
  }

  async close(): Promise<void> {
    for (const program of this.#programs) {
      program.child.kill('SIGCONT')
      await program.end('SIGKILL')
    }
    await this.client.end()
    await this.#database.drop()
  }
}
