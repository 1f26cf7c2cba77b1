// Engines on a real database, driven without HTTP: what the guarantees rest on is tested where it lives.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { z } from 'zod'
import { command, defineContract, entity, event, rejection, stateful } from 'twofold'
import { PostgresEffectStore } from '../../src/adapters/postgres/effect-store.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import type { AfterDeath, CommandRetry } from '../../src/contract/command.ts'
import { encodeEnvelope, type Envelope } from '../../src/contract/envelope.ts'
import type { EffectSession } from '../../src/ports/effect-store.ts'
import type { PartitionRow } from '../../src/ports/instances.ts'
import type { DirectResult } from '../../src/ports/direct-carrier.ts'
import { partitionOf, type SlotMap } from '../../src/ports/slots.ts'
import { Engine } from '../../src/stateful/engine/engine.ts'
import type { AnyStateful } from '../../src/stateful/stateful.ts'
import { testDatabase } from '../support/database.ts'

const input = z.object({ account: z.string(), amount: z.int() })
const balance = z.object({ balance: z.int() })

export const bank = defineContract('bank', {
  commands: {
    credit: command({ input, key: (given) => given.account, reply: balance }),
    debit: command({ input, key: (given) => given.account, reply: balance, rejections: { insufficient: rejection(balance) } }),
    move: command({
      input: z.object({ from: z.string(), to: z.string(), amount: z.int() }),
      key: (given) => [given.from, given.to],
      rejections: { insufficient: rejection(balance) },
    }),
    spread: command({ input: z.object({ accounts: z.array(z.string()), amount: z.int() }), key: (given) => given.accounts }),
    explode: command({ input, key: (given) => given.account }),
    look: command({ input, key: (given) => given.account, reply: balance }),
    toil: command({ input, key: (given) => given.account, reply: balance }),
    toilBoth: command({ input: z.object({ from: z.string(), to: z.string(), amount: z.int() }), key: (given) => [given.from, given.to] }),
  },
  events: { changed: event(z.object({ account: z.string(), by: z.int() })) },
})

/** Accounts whose `explode` is to fail, as long as they are in here. */
export const exploding = new Set<string>()

/** How long a `toil` holds the thread, in milliseconds; and the ids of those that have run, as often as they have. */
export const toiling = { eachMs: 0, ran: [] as string[] }

function toil(commandId: string): void {
  toiling.ran.push(commandId)
  for (const until = performance.now() + toiling.eachMs; performance.now() < until;);
}

export const bankSide = stateful(bank, {
  entity: entity(bank, { initial: () => ({ balance: 0 }) }),
  handlers: {
    credit(state, { account, amount }, { emit }) {
      state.balance += amount
      emit.changed({ account, by: amount })
      return { balance: state.balance }
    },
    debit(state, { account, amount }, { emit, reject }) {
      if (state.balance < amount) return reject.insufficient({ balance: state.balance })
      state.balance -= amount
      emit.changed({ account, by: -amount })
      return { balance: state.balance }
    },
    move([from, to], given, { emit, reject }) {
      if (from.balance < given.amount) return reject.insufficient({ balance: from.balance })
      from.balance -= given.amount
      to.balance += given.amount
      emit.changed({ account: given.from, by: -given.amount })
      emit.changed({ account: given.to, by: given.amount })
    },
    // What every one of them gets depends on all of them: it is 0 unless all are equal.
    spread(states, { accounts, amount }, { emit }) {
      const equal = states.every(({ balance: each }) => each === states[0]?.balance)
      for (const state of new Set(states)) state.balance += equal ? amount : 0
      emit.changed({ account: accounts[0] ?? '', by: amount })
    },
    explode(state, { account }) {
      state.balance = -1
      if (exploding.has(account)) throw new Error(`${account} explodes`)
      state.balance = 1000
    },
    look: (state) => ({ balance: state.balance }),
    toil(state, { account, amount }, { emit, commandId }) {
      toil(commandId)
      state.balance += amount
      emit.changed({ account, by: amount })
      return { balance: state.balance }
    },
    toilBoth([from, to], { amount }, { commandId }) {
      toil(commandId)
      from.balance -= amount
      to.balance += amount
    },
  },
})

/** The side with another policy for all of its commands. Default: 3 attempts, up to 20 ms apart. */
function retrying({ retry, afterDeath = 'continue' }: { retry?: Partial<CommandRetry>; afterDeath?: AfterDeath }): AnyStateful {
  const policy = { retry: { attempts: 3, minMs: 5, maxMs: 20, deadlineMs: false, ...retry }, afterDeath }
  const commands = Object.fromEntries(Object.entries(bank.commands).map(([name, each]) => [name, { ...each, ...policy }]))
  return { ...bankSide, contract: { ...bank, commands } } as unknown as AnyStateful
}

/** The session as it is, but for the given calls. */
export const but = (real: EffectSession, changed: Partial<EffectSession>): EffectSession => {
  const rest = Object.getOwnPropertyNames(Object.getPrototypeOf(real)).filter((name) => name !== 'constructor') as (keyof EffectSession)[]
  const same = Object.fromEntries(rest.map((name) => [name, (real[name] as CallableFunction).bind(real)]))
  return { ...(same as unknown as EffectSession), ...changed }
}

/** A migrated database with one client to look into it. */
export async function engineDatabase(): Promise<EngineDatabase> {
  const database = await testDatabase()
  const slots = await migrate(database.url, { appName: 'bank', partitionCount: 8 })
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  return new EngineDatabase(database, slots, client)
}

export class EngineDatabase {
  /** The one that all engines of this database pretend to be. */
  readonly instanceId = randomUUID()
  readonly slots: SlotMap
  readonly client: pg.Client
  readonly #database: { readonly url: string; drop(): Promise<void> }
  readonly #engines: Engine[] = []
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

  /** An engine that has just taken `partitions` over, as a membership would let it. `session` may put a fault into its connections. */
  async engine(
    partitions: readonly number[] = this.partitions,
    options: {
      abandoned?: boolean
      mayWrite?: () => boolean
      retry?: Partial<CommandRetry>
      afterDeath?: AfterDeath
      now?: () => number
      carriedMsMax?: () => number
      overlapMin?: number
      batchSizeMax?: number
      session?: (real: EffectSession) => EffectSession
    } = {},
  ): Promise<Engine> {
    const store = this.store()
    const engine = new Engine({
      sides: [retrying(options)],
      store: { open: async () => (options.session ?? ((real) => real))(await store.open()) },
      slots: this.slots,
      log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      now: options.now ?? ((): number => Date.now()),
      carriedMsMax: options.carriedMsMax,
      overlapMin: options.overlapMin,
      batchSizeMax: options.batchSizeMax,
      handlerMs: false,
      mayWrite: options.mayWrite ?? (() => true),
      fenced: () => undefined,
      onAppended: () => () => undefined,
    })
    this.#engines.push(engine)
    await engine.start()
    await engine.adopt(await this.takeOver(partitions, options.abandoned))
    return engine
  }

  store(): PostgresEffectStore {
    return new PostgresEffectStore({
      url: this.#database.url,
      applicationName: 'twofold engine',
      instanceId: this.instanceId,
      leaseMs: 10_000,
      onCommitted: () => undefined,
    })
  }

  /** Gives partitions a new epoch, as a claim does. */
  async takeOver(partitions: readonly number[], abandoned = false): Promise<PartitionRow[]> {
    const { rows } = await this.client.query(
      'update twofold._partition set epoch = epoch + 1 where partition = any($1) returning partition, epoch',
      [partitions],
    )
    return rows.map((row: { partition: number; epoch: string }) => ({ ...row, owner: undefined, abandoned }))
  }

  envelope(
    name: keyof typeof bank.commands,
    given: { account?: string; from?: string; to?: string; accounts?: string[]; amount: number },
    id = this.nextId(),
  ): Envelope {
    const keys = given.accounts ?? (given.account === undefined ? [given.from ?? '', given.to ?? ''] : [given.account])
    return { id, service: 'bank', command: name, keys, input: JSON.stringify(given) }
  }

  nextId(): string {
    this.#ids += 1
    return `0190b1d2-7000-7000-8000-${this.#ids.toString(16).padStart(12, '0')}`
  }

  call(engine: Engine, ...given: Parameters<EngineDatabase['envelope']>): Promise<DirectResult> {
    return engine.call(this.envelope(...given), AbortSignal.timeout(10_000))
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

  async balances(): Promise<Record<string, number>> {
    const { rows } = await this.client.query(`select key, (state ->> 'balance')::int as balance from twofold.entity order by key`)
    return Object.fromEntries(rows.map((row: { key: string; balance: number }) => [row.key, row.balance]))
  }

  async count(table: string): Promise<number> {
    return Number((await this.client.query(`select count(*) from twofold.${table}`)).rows[0].count)
  }

  async close(): Promise<void> {
    for (const engine of this.#engines) await engine.stop()
    await this.client.end()
    await this.#database.drop()
  }
}
