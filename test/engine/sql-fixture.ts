// Engines with an SQL service on a table of its own, and an entity service beside it, on a real database.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { z } from 'zod'
import { command, defineContract, entity, event, rejection, stateful, statefulSql } from 'twofold'
import { PostgresEffectStore } from '../../src/adapters/postgres/effect-store.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { PostgresSqlStore } from '../../src/adapters/postgres/sql-store.ts'
import type { AfterDeath, CommandRetry } from '../../src/contract/command.ts'
import { encodeEnvelope, type Envelope } from '../../src/contract/envelope.ts'
import type { OpenCarrier } from '../../src/ports/carrier.ts'
import type { Transaction } from '../../src/ports/database.ts'
import type { DirectResult } from '../../src/ports/direct-carrier.ts'
import type { PartitionRow } from '../../src/ports/instances.ts'
import { partitionOf, type SlotMap } from '../../src/ports/slots.ts'
import type { SqlSession } from '../../src/ports/sql-store.ts'
import { Engine } from '../../src/stateful/engine/engine.ts'
import type { AnyStatefulSql } from '../../src/stateful/stateful-sql.ts'
import type { AnyStateful } from '../../src/stateful/stateful.ts'
import { testDatabase } from '../support/database.ts'

const input = z.object({ account: z.string(), amount: z.int() })
const cents = z.object({ cents: z.int() })

export const vault = defineContract('vault', {
  commands: {
    put: command({ input, key: (given) => given.account, reply: cents }),
    take: command({ input, key: (given) => given.account, reply: cents, rejections: { short: rejection(cents) } }),
    move: command({
      input: z.object({ from: z.string(), to: z.string(), amount: z.int() }),
      key: (given) => [given.from, given.to],
      rejections: { short: rejection(cents) },
    }),
    // What it does is a test's own business.
    act: command({ input, key: (given) => given.account }),
  },
  events: { changed: event(z.object({ account: z.string(), by: z.int() })) },
})

export const counters = defineContract('counters', {
  commands: { count: command({ input, key: (given) => given.account }) },
  events: { counted: event(z.object({ account: z.string() })) },
})

const countersSide = stateful(counters, {
  entity: entity(counters, { initial: () => ({ count: 0 }) }),
  handlers: {
    count(state, { account, amount }, { emit }) {
      state.count += amount
      emit.counted({ account })
    },
  },
})

/** What `act` does, by account. */
export type Act = (tx: Transaction, given: { readonly account: string; readonly signal: AbortSignal }) => Promise<void>

async function change(tx: Transaction, account: string, by: number): Promise<number> {
  const { rows } = await tx.query<{ cents: number }>(
    'insert into account as a values ($1, $2) on conflict (name) do update set cents = a.cents + $2 returning cents',
    [account, by],
  )
  return rows[0]?.cents ?? 0
}

async function balanceOf(tx: Transaction, account: string): Promise<number> {
  return (await tx.query<{ cents: number }>('select cents from account where name = $1', [account])).rows[0]?.cents ?? 0
}

function vaultSide(acts: ReadonlyMap<string, Act>, policy: { retry: Partial<CommandRetry>; afterDeath: AfterDeath }): AnyStatefulSql {
  const side = statefulSql(vault, {
    handlers: {
      async put({ account, amount }, { tx, emit }) {
        emit.changed({ account, by: amount })
        return { cents: await change(tx, account, amount) }
      },
      async take({ account, amount }, { tx, emit, reject }) {
        const left = await change(tx, account, -amount)
        if (left < 0) return reject.short({ cents: left + amount })
        emit.changed({ account, by: -amount })
        return { cents: left }
      },
      async move({ from, to, amount }, { tx, emit, reject }) {
        // Read first and written later, on purpose: only who runs alone on its keys gets away with that.
        const [left, right] = [await balanceOf(tx, from), await balanceOf(tx, to)]
        if (left < amount) return reject.short({ cents: left })
        await tx.query('update account set cents = $2 where name = $1', [from, left - amount])
        await tx.query('update account set cents = $2 where name = $1', [to, right + amount])
        emit.changed({ account: to, by: amount })
      },
      async act({ account }, { tx, signal, emit }) {
        emit.changed({ account, by: 0 })
        await acts.get(account)?.(tx, { account, signal })
      },
    },
  })
  const retry = { attempts: 3, minMs: 5, maxMs: 20, deadlineMs: false, ...policy.retry }
  const commands = Object.fromEntries(
    Object.entries(vault.commands).map(([name, each]) => [name, { ...each, afterDeath: policy.afterDeath, retry }]),
  )
  return { ...side, contract: { ...vault, commands } } as unknown as AnyStatefulSql
}

/** The session as it is, but for the given calls. */
export function butSql(real: SqlSession, changed: Partial<SqlSession>): SqlSession {
  return new Proxy(real, {
    get: (target, name: keyof SqlSession) => {
      const value = changed[name] ?? target[name]
      return typeof value === 'function' && changed[name] === undefined ? value.bind(target) : value
    },
  })
}

export interface SqlEngineOptions {
  readonly handlerMs?: number
  readonly retry?: Partial<CommandRetry>
  readonly afterDeath?: AfterDeath
  readonly mayWrite?: () => boolean
  readonly connectionsMax?: number
  readonly leaseMs?: number
  /** Where SQL handlers find the database. */
  readonly sqlUrl?: string
  /** The former owner of its partitions died. */
  readonly abandoned?: boolean
  /** A broker that carries the commands. */
  readonly carrier?: OpenCarrier
  readonly session?: (real: SqlSession) => SqlSession
}

/** A migrated database with a table of accounts, and one client to look into it. */
export async function sqlScene(): Promise<SqlScene> {
  const database = await testDatabase()
  const slots = await migrate(database.url, { appName: 'vault', partitionCount: 8 })
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await client.query('create table account (name text primary key, cents int not null)')
  return new SqlScene(database, slots, client)
}

export class SqlScene {
  readonly acts = new Map<string, Act>()
  readonly slots: SlotMap
  readonly client: pg.Client
  readonly #database: { readonly url: string; drop(): Promise<void> }
  readonly #engines: Engine[] = []
  readonly instanceId = randomUUID()
  #ids = 0

  constructor(database: { readonly url: string; drop(): Promise<void> }, slots: SlotMap, client: pg.Client) {
    this.#database = database
    this.slots = slots
    this.client = client
  }

  get url(): string {
    return this.#database.url
  }

  get partitions(): number[] {
    return Array.from({ length: this.slots.partitionCount }, (_, partition) => partition)
  }

  async engine(partitions: readonly number[] = this.partitions, options: SqlEngineOptions = {}): Promise<Engine> {
    const storing = {
      url: this.url,
      instanceId: this.instanceId,
      leaseMs: options.leaseMs ?? 10_000,
      onCommitted: () => undefined,
    }
    const store = new PostgresSqlStore({ ...storing, url: options.sqlUrl ?? this.url, statementMs: options.handlerMs ?? 20_000 })
    const engine = new Engine({
      sides: [countersSide as unknown as AnyStateful],
      sql: {
        sides: [vaultSide(this.acts, { retry: options.retry ?? {}, afterDeath: options.afterDeath ?? 'continue' })],
        store: { open: async () => (options.session ?? ((real) => real))(await store.open()) },
        handlerMs: options.handlerMs ?? 20_000,
        connectionsMax: options.connectionsMax,
      },
      store: new PostgresEffectStore({ ...storing, applicationName: 'twofold engine' }),
      slots: this.slots,
      log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      now: () => Date.now(),
      handlerMs: false,
      mayWrite: options.mayWrite ?? (() => true),
      fenced: () => undefined,
      onAppended: () => () => undefined,
      carrier: options.carrier,
    })
    this.#engines.push(engine)
    await engine.start()
    await engine.adopt(await this.takeOver(partitions, options.abandoned))
    return engine
  }

  /** Gives partitions a new epoch, as a claim does. */
  async takeOver(partitions: readonly number[], abandoned = false): Promise<PartitionRow[]> {
    const { rows } = await this.client.query(
      'update twofold._partition set epoch = epoch + 1 where partition = any($1) returning partition, epoch',
      [partitions],
    )
    return rows.map((row: { partition: number; epoch: string }) => ({ ...row, owner: undefined, abandoned }))
  }

  nextId(): string {
    this.#ids += 1
    return `0190b1d2-7000-7000-8000-${this.#ids.toString(16).padStart(12, '0')}`
  }

  envelope(name: keyof typeof vault.commands | 'count', given: Given, id = this.nextId()): Envelope {
    const keys = given.account === undefined ? [given.from ?? '', given.to ?? ''] : [given.account]
    const all = { amount: 1, ...given }
    return { id, service: name === 'count' ? 'counters' : 'vault', command: name, keys, input: JSON.stringify(all) }
  }

  call(engine: Engine, ...given: Parameters<SqlScene['envelope']>): Promise<DirectResult> {
    return engine.call(this.envelope(...given), AbortSignal.timeout(50_000))
  }

  partitionOf(account: string, service = 'vault'): number {
    return partitionOf(this.slots, service, account)
  }

  /** Accounts of the given number, all of them in one partition. */
  neighbours(count: number, partition = 0): string[] {
    const names: string[] = []
    for (let at = 0; names.length < count; at += 1) if (this.partitionOf(`account-${at}`) === partition) names.push(`account-${at}`)
    return names
  }

  /** Appends one packed row per partition, as the command log does. */
  async append(envelopes: readonly Envelope[]): Promise<void> {
    const rows = Map.groupBy(envelopes, (envelope) => partitionOf(this.slots, envelope.service, envelope.keys[0] ?? ''))
    for (const [partition, packed] of rows) {
      const ids = packed.map((envelope) => envelope.id).toSorted()
      await this.client.query('insert into twofold._command (partition, first_id, last_id, count, body) values ($1, $2, $3, $4, $5)', [
        partition,
        ids[0],
        ids.at(-1),
        packed.length,
        packed.map(encodeEnvelope).join('\n'),
      ])
    }
  }

  /** Claims an Idempotency-Key for a command, as the append of it does. */
  async claim(commandId: string, { hash, fingerprint }: { readonly hash: string; readonly fingerprint: string }): Promise<void> {
    await this.client.query('insert into twofold._claim (hash, fingerprint, command_id) values ($1, $2, $3)', [
      hash,
      fingerprint,
      commandId,
    ])
  }

  async balances(): Promise<Record<string, number>> {
    const { rows } = await this.client.query<{ name: string; cents: number }>('select name, cents from account order by name')
    return Object.fromEntries(rows.map(({ name, cents: left }) => [name, left]))
  }

  async count(table: string): Promise<number> {
    return Number((await this.client.query(`select count(*) from twofold.${table}`)).rows[0].count)
  }

  /** Every event number of every partition, in order. */
  async eventNumbers(): Promise<number[][]> {
    const { rows } = await this.client.query<{ seqs: string[] }>(
      'select array_agg(seq order by seq) as seqs from twofold.event group by partition order by partition',
    )
    return rows.map(({ seqs }) => seqs.map(Number))
  }

  /** A connection of somebody else, to be ended by whoever asks for it. */
  async clientOf(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.url })
    await client.connect()
    return client
  }

  async close(): Promise<void> {
    for (const engine of this.#engines) await engine.stop()
    await this.client.end()
    await this.#database.drop()
  }
}

interface Given {
  readonly account?: string
  readonly from?: string
  readonly to?: string
  readonly amount?: number
}
