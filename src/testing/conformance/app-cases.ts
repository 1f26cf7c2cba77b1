// Cases of a whole app: what is promised to those who send commands, whichever way they are carried.
import { deepEqual, equal, ok } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Case } from './case.ts'
import { eventually } from './eventually.ts'
import { newCommandId } from './sender.ts'
import { onStage, range } from './stage.ts'

export const appCases: readonly Case[] = [
  {
    name: 'what was accepted takes effect, also when every instance ends before that',
    topic: 'durability',
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
    topic: 'order per key',
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
    topic: 'reorder across keys',
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
    topic: 'batch sizes',
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
    topic: 'large bodies',
    check: onStage(async (stage) => {
      const app = await stage.start()
      const large = await stage.send(app, 'accounts/tell', 'a', 1, { ballast: 'ß'.repeat(500_000) })
      equal(large.status, 202)
      deepEqual(await stage.ask(app, 'a', 2), [1, 2])
    }),
  },
  {
    name: 'a repeated request has one effect, accepted or waited for',
    topic: 'duplicates',
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
    name: 'a command that is carried several times has one effect',
    topic: 'duplicates',
    check: onStage(async (stage) => {
      const app = await stage.start()
      const sender = await stage.sender()
      const first = newCommandId()
      await sender.publish('a', 1, first)
      await sender.publish('a', 1, first)
      await sender.publish('a', 2)
      await sender.publish('a', 1, first)
      deepEqual(await stage.ask(app, 'a', 3), range(3))
      // Long after it ran, too.
      await sender.publish('a', 1, first)
      deepEqual(await stage.ask(app, 'a', 4), range(4))
    }),
  },
  {
    name: 'slow commands in a table keep their order and hold up no entity',
    topic: 'slow consumer',
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
    topic: 'hand-over',
    check: onStage(async (stage) => {
      const first = await stage.start()
      const loads = stage.loads(() => first)
      await stage.goOn(loads)
      const second = await stage.start()
      // Others are given their share once they have been there for two seconds.
      let moved: string | undefined
      await eventually('the second instance owns partitions', async () => (moved = await stage.accountOfNewest()) !== undefined)
      await stage.goOn(loads)
      deepEqual(await stage.ask(first, moved ?? '', 1), [1])
      equal(stage.ranLast(moved ?? '', 1), second, 'what has moved is run by its new owner')
      await stage.stop(second)
      await stage.goOn(loads)
      deepEqual(await stage.ask(first, moved ?? '', 2), [1, 2])
      equal(stage.ranLast(moved ?? '', 2), first, 'what has come back is run by the one that is left')
      await stage.holds(loads, first)
    }),
  },
  {
    name: 'an instance that stops under load loses and doubles nothing',
    topic: 'shutdown drain',
    check: onStage(async (stage) => {
      let app = await stage.start()
      const loads = stage.loads(() => app)
      await stage.goOn(loads)
      const next = await stage.start()
      const leaving = app
      app = next
      await stage.goOn(loads)
      await stage.stop(leaving)
      await stage.goOn(loads)
      ok(
        stage.ran.some(({ by }) => by === leaving),
        'the one that leaves has run commands',
      )
      for (const { account, taken } of loads) {
        await eventually(`${taken} of '${account}' is run`, () => stage.runsOf(account, [taken])[0] !== 0)
        equal(stage.ranLast(account, taken), next, 'the one that is left runs what comes')
      }
      await stage.holds(loads, app)
    }),
  },
  {
    name: 'while the broker is away commands are refused, and afterwards all goes on',
    topic: 'connection loss',
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
    topic: 'connection loss',
    check: onStage(async (stage, ground) => {
      const app = await stage.start()
      const loads = stage.loads(() => app)
      for (let times = 0; times < 4; times += 1) {
        await new Promise((resolve) => setTimeout(resolve, 400))
        await ground.cut()
        await new Promise((resolve) => setTimeout(resolve, 150))
        await ground.restore()
      }
      await stage.holds(loads, app)
    }),
  },
  {
    name: 'a command that is named in doubt comes to an end, and one that is refused takes no effect',
    topic: 'connection loss',
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
