// The trace context of a request reaches the handler of its command, whichever way the command takes.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { command, defineApp, defineContract, entity, start, stateful, statefulSql, type RunningApp, type StartOptions } from 'twofold'
import { memoryCarrier } from 'twofold/testing'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { until } from './program.ts'

const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

const input = z.object({ key: z.string() })
const key = (given: { key: string }): string => given.key
const retry = { attempts: 3, minMs: 1, maxMs: 5 }
const notes = defineContract('notes', {
  commands: { ask: command({ input, key }), tell: command({ input, key, respond: 'accepted' }), fail: command({ input, key, retry }) },
})
const tables = defineContract('tables', { commands: { ask: command({ input, key }) } })

/** What handlers were told of the trace. */
const told: (readonly [string, string | undefined])[] = []

const notesSide = stateful(notes, {
  entity: entity(notes, { initial: () => ({}) }),
  handlers: {
    ask: (_state, _input, { traceparent }) => void told.push(['ask', traceparent]),
    tell: (_state, _input, { traceparent }) => void told.push(['tell', traceparent]),
    fail(_state, _input, { traceparent }) {
      told.push(['fail', traceparent])
      if (told.filter(([name]) => name === 'fail').length < 2) throw new Error('the first attempt fails')
    },
  },
})
const tablesSide = statefulSql(tables, {
  handlers: { ask: (_input, { traceparent }) => Promise.resolve(void told.push(['table', traceparent])) },
})

let database: TestDatabase
const running: RunningApp[] = []

beforeEach(async () => {
  told.length = 0
  database = await testDatabase()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((app) => app.stop()))
  await database.drop()
})

async function started(options: StartOptions): Promise<RunningApp> {
  const app = await start(defineApp('notes', [notesSide, tablesSide]), {
    url: database.url,
    port: 0,
    logLevel: 'fatal',
    partitionCount: 4,
    ...options,
  })
  running.push(app)
  return app
}

async function sendTo(app: RunningApp, path: string): Promise<number> {
  const headers = { 'content-type': 'application/json', traceparent: TRACEPARENT }
  return (await fetch(`${app.url}/${path}`, { method: 'POST', headers, body: '{"key":"a"}' })).status
}

test.each(['postgres', 'a broker'] as const)('a handler is told the trace of its request, over %s', async (way) => {
  const carrier = way === 'postgres' ? way : memoryCarrier()
  await started({ roles: ['stateful'], carrier })
  const gateway = await started({ roles: ['stateless'], carrier })
  // Straight to the owner, as soon as it is known; through the log; by an SQL handler; and again after a failure, out of the parked ones.
  for (const path of ['notes/ask', 'notes/ask', 'notes/tell', 'tables/ask', 'notes/fail'])
    expect(await sendTo(gateway, path)).toBe(path === 'notes/tell' ? 202 : 204)
  await until('all have run', () => told.length === 6)
  const names = ['ask', 'ask', 'fail', 'fail', 'table', 'tell']
  expect(told.toSorted(([a], [b]) => (a < b ? -1 : 1))).toEqual(names.map((name) => [name, TRACEPARENT]))
})
