// Cases of a whole app: what is promised to those who send commands, whichever way they are carried.
import { deepEqual, equal, ok } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Transaction } from '../../ports/database.ts'
import { accountsApp } from './accounts.ts'
import type { Case, ConformanceGround, Entry, Instance } from './carrier-conformance.ts'
import { eventually } from './eventually.ts'

const range = (to: number): number[] => Array.from({ length: to }, (_, at) => at + 1)

/** Instances of the app, and what a case does to them. */
class Stage {
  readonly #ground: ConformanceGround
  readonly #entry: Entry
  readonly failing = new Set<string>()
  readonly #running = new Set<Instance>()

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
      partitionCount: 8,
      leaseMs: 2000,
      prepare: async (tx: Transaction) => {
        await tx.query('create table if not exists told (account text primary key, numbers int[] not null)')
      },
      ...this.#ground.options,
      ...options,
    }
    const app = await this.#entry.start(accountsApp(this.#entry, this.#ground.app, this.failing) as never, settings as never)
    this.#running.add(app)
    return app
  }

  async stop(app: Instance): Promise<void> {
    this.#running.delete(app)
    await app.stop()
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running].map((app) => this.stop(app)))
  }

  async send(app: Instance, command: string, account: string, number: number, more: object = {}, key?: string): Promise<Response> {
    return fetch(`${app.url}/${command}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key === undefined ? {} : { 'idempotency-key': `"${key}"` }) },
      body: JSON.stringify({ account, number, ...more }),
    })
  }

  /** Accepts these numbers, one after the other, and notes them. */
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

  /** Sends numbers to an account until it is stopped, each again until it is taken; returns how to stop, with all that were taken. */
  load(app: () => Instance, account: string): () => Promise<number[]> {
    const taken: number[] = []
    const stopped = new AbortController()
    const run = async (): Promise<void> => {
      for (let number = 1; !stopped.signal.aborted; number += 1) {
        const key = randomUUID()
        await eventually(`number ${number} of '${account}' is taken`, async () => {
          const answer = await this.send(app(), 'accounts/tell', account, number, {}, key).catch(() => undefined)
          return answer?.status === 202
        })
        taken.push(number)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    const ended = run()
    ended.catch(() => undefined)
    return async () => {
      stopped.abort()
      await ended
      return taken
    }
  }
}

function onStage(check: (stage: Stage, ground: ConformanceGround) => Promise<void>): Case['check'] {
  return async (ground, entry) => {
    const stage = new Stage(ground, entry)
    try {
      await check(stage, ground)
    } finally {
      await stage.stopAll()
    }
  }
}

export const appCases: readonly Case[] = [
  {
    name: 'what was accepted takes effect, also when every instance ends before that',
    check: onStage(async (stage) => {
      const taker = await stage.start({ roles: ['stateless'] })
      await stage.tell(taker, 'a', range(20))
      await stage.stop(taker)
      const app = await stage.start()
      deepEqual(await stage.ask(app, 'a', 21), range(21))
    }),
  },
  {
    name: 'commands of one key run in the order in which they were answered, accepted or waited for',
    check: onStage(async (stage) => {
      const app = await stage.start()
      for (let number = 1; number <= 60; number += 3) {
        await stage.tell(app, 'a', [number, number + 1])
        deepEqual(await stage.ask(app, 'a', number + 2), range(number + 2))
      }
    }),
  },
  {
    name: 'a key whose commands fail keeps no other key waiting',
    check: onStage(async (stage) => {
      const app = await stage.start()
      stage.failing.add('a')
      await stage.tell(app, 'a', range(5))
      for (const account of ['b', 'c', 'd', 'e']) deepEqual(await stage.ask(app, account, 1), [1])
      stage.failing.clear()
      deepEqual(await stage.ask(app, 'a', 6), range(6))
    }),
  },
  {
    name: 'one command and a thousand at once come to their end',
    check: onStage(async (stage) => {
      const app = await stage.start()
      for (const size of [1, 10, 1000]) {
        const sent = range(size).map((number) => stage.send(app, 'accounts/tell', `${size}-${number % 50}`, number))
        for (const answer of await Promise.all(sent)) equal(answer.status, 202)
      }
      const expected = range(1000).filter((number) => number % 50 === 7)
      const numbers = await stage.ask(app, '1000-7', 0)
      deepEqual(
        numbers.toSorted((a, b) => a - b),
        [0, ...expected],
      )
    }),
  },
  {
    name: 'a command as large as the gateway takes arrives whole',
    check: onStage(async (stage) => {
      const app = await stage.start()
      const large = await stage.send(app, 'accounts/tell', 'a', 1, { ballast: 'ß'.repeat(500_000) })
      equal(large.status, 202)
      deepEqual(await stage.ask(app, 'a', 2), [1, 2])
    }),
  },
  {
    name: 'a repeated request has one effect, accepted or waited for',
    check: onStage(async (stage) => {
      const app = await stage.start()
      const key = randomUUID()
      const answers = await Promise.all(range(10).map(() => stage.send(app, 'accounts/tell', 'a', 1, {}, key)))
      ok(answers.every(({ status }) => status === 202))
      equal(new Set(answers.map(({ headers }) => headers.get('twofold-command-id'))).size, 1)
      deepEqual(await stage.ask(app, 'a', 2), [1, 2])
      deepEqual(await stage.ask(app, 'a', 2), [1, 2])
    }),
  },
  {
    name: 'slow commands in a table keep their order and hold up no entity',
    check: onStage(async (stage) => {
      const app = await stage.start()
      const told = ['a', 'b', 'c', 'd'].map((account) => stage.tell(app, account, range(25), 'tables'))
      deepEqual(await stage.ask(app, 'quick', 1), [1])
      await Promise.all(told)
      const { default: pg } = await import('pg')
      const client = new pg.Client({ connectionString: stage.url })
      await client.connect()
      try {
        await eventually('all of them ran', async () => {
          const { rows } = await client.query<{ numbers: number[] }>('select numbers from told')
          return rows.length === 4 && rows.every(({ numbers }) => numbers.length === 25)
        })
        for (const { numbers } of (await client.query<{ numbers: number[] }>('select numbers from told')).rows)
          deepEqual(numbers, range(25))
      } finally {
        await client.end()
      }
    }),
  },
  {
    name: 'partitions go from instance to instance under load, and every key keeps its order',
    check: onStage(async (stage) => {
      const first = await stage.start()
      const stops = range(6).map((at) => stage.load(() => first, `account-${at}`))
      const second = await stage.start()
      // Others are given their share once they have been there for two seconds.
      await new Promise((resolve) => setTimeout(resolve, 3000))
      await stage.stop(second)
      for (const [at, stop] of stops.entries()) {
        const taken = await stop()
        deepEqual(await stage.ask(first, `account-${at + 1}`, taken.length + 1), range(taken.length + 1))
      }
    }),
  },
  {
    name: 'an instance that stops under load loses and doubles nothing',
    check: onStage(async (stage) => {
      let app = await stage.start()
      const stops = range(6).map((at) => stage.load(() => app, `account-${at}`))
      await new Promise((resolve) => setTimeout(resolve, 500))
      const next = await stage.start()
      const leaving = app
      app = next
      await stage.stop(leaving)
      for (const [at, stop] of stops.entries()) {
        const taken = await stop()
        deepEqual(await stage.ask(app, `account-${at + 1}`, taken.length + 1), range(taken.length + 1))
      }
    }),
  },
  {
    name: 'while the broker is away commands are refused, and afterwards all goes on',
    check: onStage(async (stage, ground) => {
      const app = await stage.start()
      await stage.tell(app, 'a', [1, 2])
      await ground.cut()
      const refused = await stage.send(app, 'accounts/tell', 'a', 3)
      equal(refused.status, 503)
      await ground.restore()
      deepEqual(await stage.ask(app, 'a', 4), [1, 2, 4])
    }),
  },
  {
    name: 'connections that break again and again under load lose, double and reorder nothing',
    check: onStage(async (stage, ground) => {
      const app = await stage.start()
      const stops = range(6).map((at) => stage.load(() => app, `account-${at}`))
      for (let times = 0; times < 4; times += 1) {
        await new Promise((resolve) => setTimeout(resolve, 400))
        await ground.cut()
        await new Promise((resolve) => setTimeout(resolve, 150))
        await ground.restore()
      }
      for (const [at, stop] of stops.entries()) {
        const taken = await stop()
        deepEqual(await stage.ask(app, `account-${at + 1}`, taken.length + 1), range(taken.length + 1))
      }
    }),
  },
  {
    name: 'a command that is named in doubt comes to an end, and one that is refused takes no effect',
    check: onStage(async (stage, ground) => {
      const app = await stage.start()
      const accounts = range(8).map((at) => `account-${at}`)
      const stops = accounts.map((account) => stage.sendOnce(app, account))
      for (let times = 0; times < 3; times += 1) {
        await new Promise((resolve) => setTimeout(resolve, 300))
        await ground.cut()
        await new Promise((resolve) => setTimeout(resolve, 200))
        await ground.restore()
      }
      for (const [at, stop] of stops.entries()) {
        const taken: number[] = []
        for (const { number, status, commandId } of await stop()) {
          const isNamed = commandId !== null && status >= 500
          if (status < 300 || (isNamed && (await stage.fate(app, commandId)))) taken.push(number)
        }
        const numbers = await stage.ask(app, accounts[at] ?? '', 0)
        deepEqual(
          numbers.toSorted((a, b) => a - b),
          [0, ...taken],
        )
      }
    }),
  },
]
