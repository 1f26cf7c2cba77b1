import { expect, test } from 'vitest'
import { z } from 'zod'
import { command, defineApp, defineContract, entity, start, stateful } from 'twofold'
import { testDatabase } from '../support/database.ts'

const counters = defineContract('counters', {
  commands: {
    count: command({
      route: 'POST /counters/:name',
      input: z.object({ name: z.string() }),
      key: (input) => input.name,
      respond: 'accepted',
    }),
  },
})
const app = defineApp('counters', [
  stateful(counters, {
    entity: entity(counters, { initial: () => ({ count: 0 }) }),
    handlers: {
      count(state) {
        state.count += 1
      },
    },
  }),
])

test('when too much waits new commands get 429 with Retry-After, and all that were accepted take effect', { timeout: 60_000 }, async () => {
  const database = await testDatabase()
  const { url } = database
  const options = { url, port: 0, logLevel: 'silent', waitingCommandsMax: 200 } as const
  const stateless = await start(app, { ...options, roles: ['stateless'] })
  const send = (at: number): Promise<Response> => fetch(`${stateless.url}/counters/c${at % 7}`, { method: 'POST' })
  const answers = []
  for (let at = 0; at < 300; at += 50) answers.push(...(await Promise.all(Array.from({ length: 50 }, (_, more) => send(at + more)))))
  const refused = answers.filter(({ status }) => status === 429)
  expect(answers.filter(({ status }) => status === 202)).toHaveLength(200)
  expect(refused).toHaveLength(100)
  expect(refused[0]?.headers.get('retry-after')).toBe('2')
  expect(await refused[0]?.json()).toMatchObject({ code: 'BACKLOG_FULL', retryable: true })

  const owner = await start(app, { ...options, roles: ['stateful'] })
  await expect.poll(async () => (await send(0)).status, { timeout: 30_000, interval: 250 }).toBe(202)
  const located = answers.filter(({ status }) => status === 202).map((answer) => answer.headers.get('location'))
  const finished = await Promise.all(
    located.map(async (location) => ((await (await fetch(`${stateless.url}${location}?wait=20`)).json()) as { status: string }).status),
  )
  expect(new Set(finished)).toEqual(new Set(['succeeded']))
  await owner.stop()
  await stateless.stop()
  await database.drop()
})
