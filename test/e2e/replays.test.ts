// A repeated request gets the first answer, and what was answered first was said by the contract of then.
import { expect, test } from 'vitest'
import { z } from 'zod'
import { command, defineApp, defineContract, entity, rejection, start, stateful, statefulSql, type App, type RunningApp } from 'twofold'
import { testDatabase } from '../support/database.ts'

interface Sent {
  readonly path: string
  readonly body: object
  readonly prefer?: string
}

interface Answered {
  readonly status: number
  readonly headers: object
  readonly body: string
}

/** Everything of an answer but what is the connection's own. */
async function answerTo(app: RunningApp, { path, body, prefer }: Sent, key: string): Promise<Answered> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': `"${key}"`, ...(prefer === undefined ? {} : { prefer }) }
  const answer = await fetch(app.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
  const own = new Set(['date', 'connection', 'keep-alive'])
  return {
    status: answer.status,
    headers: Object.fromEntries([...answer.headers].filter(([name]) => !own.has(name))),
    body: await answer.text(),
  }
}

/** An app with a service of each kind. A deploy gives its rejections other statuses and other data, and its commands other replies. */
function tillsApp(deployed: 'before' | 'after'): App {
  const [status, form] =
    deployed === 'before' ? [403, z.object({ cents: z.int() })] : [410, z.object({ cents: z.int(), seen: z.boolean().default(true) })]
  const commands = (path: string) => ({
    take: command({
      route: `POST /${path}/:till/take`,
      input: z.object({ till: z.string(), cents: z.int() }),
      key: (given) => given.till,
      reply: form,
      rejections: { short: rejection(form, { status }) },
    }),
  })
  const tills = defineContract('tills', { commands: commands('tills') })
  const ledgers = defineContract('ledgers', { commands: commands('ledgers') })
  return defineApp('tills', [
    stateful(tills, {
      entity: entity(tills, { initial: () => ({ cents: 10 }) }),
      handlers: {
        take(till, { cents }, { reject }) {
          if (till.cents < cents) return reject.short({ cents: till.cents })
          till.cents -= cents
          return { cents: till.cents }
        },
      },
    }),
    statefulSql(ledgers, {
      handlers: {
        async take({ cents }, { reject }) {
          return cents > 10 ? reject.short({ cents: 10 }) : { cents: 10 - cents }
        },
      },
    }),
  ])
}

test('a repeated request gets its first answer after a deploy has changed what its contract says', { timeout: 60_000 }, async () => {
  const database = await testDatabase()
  let app: RunningApp | undefined
  try {
    const options = { url: database.url, port: 0, logLevel: 'error' } as const
    const takes = ['tills', 'ledgers'].flatMap((path) => [4, 99].map((cents) => ({ path: `/${path}/a/take`, body: { cents } })))
    app = await start(tillsApp('before'), options)
    const first: Answered[] = []
    for (const [at, take] of takes.entries()) first.push(await answerTo(app, take, `take-${at}`))
    expect(first.map(({ status }) => status)).toEqual([200, 403, 200, 403])
    await app.stop()
    app = await start(tillsApp('after'), options)
    for (const [at, take] of takes.entries()) {
      const { headers, ...again } = await answerTo(app, take, `take-${at}`)
      expect({ ...again, headers }).toEqual({ ...first[at], headers: { ...first[at]?.headers, 'idempotency-replayed': 'true' } })
    }
    expect((await answerTo(app, { path: '/tills/a/take', body: { cents: 99 } }, 'another')).status).toBe(410)
  } finally {
    await app?.stop()
    await database.drop()
  }
})

/** Each style of handler holds its command up until it is let go. */
function slowApp(mayGo: Promise<undefined>, isStuck: () => boolean): App {
  const input = z.object({ id: z.string() })
  const act = (path: string) => ({
    act: command({ route: `POST /${path}/:id`, input, key: ({ id }) => id, retry: { attempts: 1000, minMs: 50, maxMs: 50 } }),
  })
  const quick = defineContract('quick', { commands: act('quick') })
  const slow = defineContract('slow', { commands: act('slow') })
  return defineApp('slow', [
    statefulSql(slow, { handlers: { act: () => mayGo } }),
    stateful(quick, {
      entity: entity(quick, { initial: () => ({}) }),
      handlers: {
        act() {
          if (isStuck()) throw new Error('not yet')
        },
      },
    }),
  ])
}

test(
  'a request that waited in vain gets its 202 again from every instance, while its command waits and once it is done',
  {
    timeout: 60_000,
  },
  async () => {
    const database = await testDatabase()
    const apps: RunningApp[] = []
    let isStuck = true
    const held = Promise.withResolvers<undefined>()
    try {
      const slow = slowApp(held.promise, () => isStuck)
      for (let at = 0; at < 2; at += 1) apps.push(await start(slow, { url: database.url, port: 0, logLevel: 'error' }))
      const [one, two] = apps as [RunningApp, RunningApp]
      // By either instance: one owns the command's partition, the other one calls it.
      const requests = ['/slow/a', '/slow/b', '/quick/a', '/quick/b'].flatMap((path) =>
        [one, two].map((asked, at) => ({ path: `${path}${at}`, asked })),
      )
      const ask = (asked: RunningApp, path: string): Promise<Answered> => answerTo(asked, { path, body: {}, prefer: 'wait=1' }, path)
      const first = await Promise.all(requests.map(({ asked, path }) => ask(asked, path)))
      expect(first.map(({ status }) => status)).toEqual(requests.map(() => 202))
      const expectSame = async (): Promise<void> => {
        for (const [at, { path }] of requests.entries()) {
          for (const asked of apps) {
            const { headers, ...again } = await ask(asked, path)
            expect({ ...again, headers }).toEqual({ ...first[at], headers: { ...first[at]?.headers, 'idempotency-replayed': 'true' } })
          }
        }
      }
      await expectSame()
      isStuck = false
      held.resolve(undefined)
      for (const { headers } of first) {
        const { location } = headers as { location: string }
        expect(await (await fetch(`${one.url}${location}?wait=20`)).json()).toMatchObject({ status: 'succeeded' })
      }
      await expectSame()
    } finally {
      held.resolve(undefined)
      for (const app of apps) await app.stop()
      await database.drop()
    }
  },
)
