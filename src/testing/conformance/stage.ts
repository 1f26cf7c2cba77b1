// Instances of the app, and what a case does to them.
import { deepEqual, equal } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Transaction } from '../../ports/database.ts'
import { accountsApp } from './accounts.ts'
import type { ConformanceBroker, ConformanceGround, Entry, Instance } from './carrier-conformance.ts'
import type { Case } from './case.ts'
import { eventually } from './eventually.ts'
import { senderTo, type Sender } from './sender.ts'

const PARTITIONS = 8

/** A broker that is restarted on a busy machine takes its time. */
const AWAY_MS_MAX = 90_000

/** The numbers from 1 on, or from another one. */
export function range(to: number, from = 1): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, at) => from + at)
}

/** Numbers that are sent to one account, one after the other, each again until it is taken. */
export class Load {
  readonly account: string
  readonly #stopping = new AbortController()
  readonly #everyMs: number
  readonly #send: (number: number, key: string) => Promise<number>
  readonly #ended: Promise<void>
  /** So many were taken. */
  taken = 0
  /** So many answers were none of that. */
  refused = 0

  constructor(account: string, everyMs: number, send: (number: number, key: string) => Promise<number>) {
    this.account = account
    this.#everyMs = everyMs
    this.#send = send
    this.#ended = this.#run()
    this.#ended.catch(() => undefined)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#ended
  }

  async #run(): Promise<void> {
    for (let number = 1; !this.#stopping.signal.aborted; number += 1) {
      const key = randomUUID()
      const isTaken = async (): Promise<boolean> => {
        const status = await this.#send(number, key).catch(() => 0)
        if (status === 202) return true
        this.refused += 1
        await new Promise((resolve) => setTimeout(resolve, this.#everyMs))
        return false
      }
      await eventually(`number ${number} of '${this.account}' is taken`, isTaken, AWAY_MS_MAX)
      this.taken = number
      await new Promise((resolve) => setTimeout(resolve, this.#everyMs))
    }
  }
}

export class Stage {
  readonly #ground: ConformanceGround
  readonly #entry: Entry
  readonly #running = new Set<Instance>()
  readonly #loads = new Set<Load>()
  readonly #senders = new Set<Sender>()
  readonly failing = new Set<string>()
  /** Every run of a handler, whatever became of it, and which instance ran it. */
  readonly ran: { readonly account: string; readonly number: number; readonly by: Instance | undefined }[] = []

  constructor(ground: ConformanceGround, entry: Entry) {
    this.#ground = ground
    this.#entry = entry
  }

  /** The database, past what may be cut. */
  get url(): string {
    return this.#ground.url
  }

  async start(options: object = {}): Promise<Instance> {
    const settings = {
      url: this.#ground.url,
      port: 0,
      logLevel: 'fatal',
      partitionCount: PARTITIONS,
      leaseMs: 2000,
      prepare: async (tx: Transaction) => {
        await tx.query('create table if not exists told (account text primary key, numbers int[] not null)')
      },
      ...this.#ground.options,
      ...options,
    }
    const started: { instance?: Instance } = {}
    const app = accountsApp(this.#entry, this.#ground.app, {
      failing: this.failing,
      ran: (account, number) => void this.ran.push({ account, number, by: started.instance }),
    })
    const instance = await this.#entry.start(app as never, settings as never)
    started.instance = instance
    this.#running.add(instance)
    return instance
  }

  async stop(app: Instance): Promise<void> {
    this.#running.delete(app)
    await app.stop()
  }

  async end(): Promise<void> {
    for (const load of this.#loads) await load.stop().catch(() => undefined)
    await Promise.all([...this.#senders].map((sender) => sender.close()))
    await Promise.all([...this.#running].map((app) => this.stop(app)))
  }

  async send(app: Instance, command: string, account: string, number: number, more: object = {}, key?: string): Promise<Response> {
    return fetch(`${app.url}/${command}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key === undefined ? {} : { 'idempotency-key': `"${key}"` }) },
      body: JSON.stringify({ account, number, ...more }),
    })
  }

  /** Accepts these numbers, one after the other. */
  async tell(app: Instance, account: string, numbers: readonly number[], service = 'accounts'): Promise<void> {
    for (const number of numbers) {
      const { status } = await this.send(app, `${service}/tell`, account, number)
      equal(status, 202)
    }
  }

  /** The numbers an account has by now: asked last, so all that were accepted before are in. */
  async ask(app: Instance, account: string, number: number): Promise<number[]> {
    let numbers: number[] | undefined
    let last = 'nothing'
    const answers = async (): Promise<boolean> => {
      const answer = await this.send(app, 'accounts/ask', account, number, {}, `ask-${account}-${number}`)
      const text = await answer.text()
      last = `${answer.status} ${text}`
      if (answer.status !== 200) return false
      numbers = (JSON.parse(text) as { numbers: number[] }).numbers
      return true
    }
    await eventually(`'${account}' answers`, answers).catch((error: unknown) => {
      throw new Error(`${String(error)}; its last answer was ${last}`, { cause: error })
    })
    return numbers ?? []
  }

  /** What became of a command that was named in doubt: true, it took effect; false, nobody knows it, and it never will. */
  async fate(app: Instance, id: string): Promise<boolean> {
    let isDone: boolean | undefined
    let last = 'nothing'
    const isTold = async (): Promise<boolean> => {
      const answer = await fetch(`${app.url}/commands/${id}?wait=1`)
      last = `${answer.status} ${await answer.text()}`
      if (answer.status === 404) isDone = false
      if (last.includes('"status":"succeeded"')) isDone = true
      return isDone !== undefined
    }
    await eventually(`it is known what became of ${id}`, isTold).catch((error: unknown) => {
      throw new Error(`${String(error)}; it was told ${last}`, { cause: error })
    })
    return isDone === true
  }

  /** Sends numbers to an account, accepted and waited for in turn, each once, until it is stopped; returns how to stop, with how each was answered. */
  sendOnce(app: Instance, account: string): () => Promise<{ number: number; status: number; commandId: string | null }[]> {
    const answers: { number: number; status: number; commandId: string | null }[] = []
    const stopped = new AbortController()
    const run = async (): Promise<void> => {
      for (let number = 1; !stopped.signal.aborted; number += 1) {
        const answer = await this.send(app, number % 2 === 0 ? 'accounts/ask' : 'accounts/tell', account, number)
        await answer.arrayBuffer()
        answers.push({ number, status: answer.status, commandId: answer.headers.get('twofold-command-id') })
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
    }
    const ended = run()
    ended.catch(() => undefined)
    return async () => {
      stopped.abort()
      await ended
      return answers
    }
  }

  /** Six accounts that are sent numbers until `holds`, by way of whatever instance `app` names by then. `everyMs`: how fast. */
  loads(app: () => Instance, everyMs = 5): readonly Load[] {
    const loads = range(6).map((at) => {
      const account = `account-${at}`
      return new Load(account, everyMs, async (number, key) => (await this.send(app(), 'accounts/tell', account, number, {}, key)).status)
    })
    for (const load of loads) this.#loads.add(load)
    return loads
  }

  /** Each of them has so many more taken. */
  async goOn(loads: readonly Load[], more = 5): Promise<void> {
    const before = loads.map(({ taken }) => taken)
    await eventually(
      'numbers of every account are taken',
      () => loads.every(({ taken }, at) => taken >= (before[at] ?? 0) + more),
      AWAY_MS_MAX,
    )
  }

  /** Ends the loads: of what was taken nothing is lost, doubled or reordered. */
  async holds(loads: readonly Load[], app: Instance): Promise<void> {
    for (const load of loads) {
      await load.stop()
      deepEqual(await this.ask(app, load.account, load.taken + 1), range(load.taken + 1))
    }
  }

  /** Hands commands to what carries them, past the gateway. */
  async sender(): Promise<Sender> {
    const sender = await senderTo(this.#ground, PARTITIONS)
    this.#senders.add(sender)
    return sender
  }

  /** An account of a partition that the newest instance owns; undefined while it owns none. */
  async accountOfNewest(): Promise<string | undefined> {
    const { rows } = await this.#query<{ partition: number }>(
      `select partition from twofold.partition where owner = (select id from twofold.instance order by started_at desc limit 1)`,
    )
    if (rows.length === 0) return undefined
    const owned = new Set(rows.map(({ partition }) => partition))
    const sender = await this.sender()
    return range(1000)
      .map((at) => `newest-${at}`)
      .find((account) => owned.has(sender.partitionOf(account)))
  }

  /** Which instance has run this number of an account last. */
  ranLast(account: string, number: number): Instance | undefined {
    return this.ran.findLast((one) => one.account === account && one.number === number)?.by
  }

  /** How many commands wait in PostgreSQL's log by what is counted of it, which may be a few seconds old. */
  async waiting(): Promise<number> {
    const [row] = (await this.#query<{ waiting: string }>('select coalesce(sum(commands + parked), 0) as waiting from twofold.backlog'))
      .rows
    return Number(row?.waiting)
  }

  async #query<Row extends object>(text: string): Promise<{ readonly rows: readonly Row[] }> {
    const { default: pg } = await import('pg')
    const client = new pg.Client({ connectionString: this.url })
    await client.connect()
    try {
      return await client.query<Row>(text)
    } finally {
      await client.end()
    }
  }

  /** How often its handler has run for these numbers of an account. */
  runsOf(account: string, numbers: readonly number[]): number[] {
    return numbers.map((number) => this.ran.filter((one) => one.account === account && one.number === number).length)
  }
}

/** A case on a stage of its own. */
export function onStage(
  check: (stage: Stage, ground: ConformanceGround, broker: ConformanceBroker | undefined) => Promise<void>,
): Case['check'] {
  return async (ground, entry, broker) => {
    const stage = new Stage(ground, entry)
    try {
      await check(stage, ground, broker)
    } finally {
      await stage.end()
    }
  }
}
