// What callers of an SQL service meet by HTTP.
import { afterAll, beforeAll, expect, test } from 'vitest'
import fastify, { type FastifyInstance } from 'fastify'
import * as z from 'zod'
import { command, defineApp, defineContract, gateway, statefulSql } from 'twofold'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { query } from '../support/fresh-database.ts'
import { until } from './program.ts'

const stock = defineContract('stock', {
  commands: { count: command({ input: z.object({ item: z.string() }), key: ({ item }) => item, reply: z.object({ runs: z.int() }) }) },
})

const runs = new Map<string, number>()
const slow = { keyed: Promise.withResolvers<void>(), keyless: Promise.withResolvers<void>() }
const app = defineApp('stock', [
  statefulSql(stock, {
    handlers: {
      async count({ item }, { tx }) {
        runs.set(item, (runs.get(item) ?? 0) + 1)
        await tx.query('select 1')
        if (item === 'keyed' || item === 'keyless') await slow[item].promise
        return { runs: runs.get(item) ?? 0 }
      },
    },
  }),
])

let database: TestDatabase
let server: FastifyInstance
beforeAll(async () => {
  database = await testDatabase()
  server = fastify()
  await server.register(gateway, { app, url: database.url, logLevel: 'error' })
  await server.ready()
})
afterAll(async () => {
  for (const { resolve } of Object.values(slow)) resolve()
  await server.close()
  await database.drop()
})

const count = (item: string, headers: Record<string, string> = {}): Promise<{ statusCode: number; headers: object; json(): unknown }> =>
  server.inject({ method: 'POST', url: '/stock/count', headers, payload: { item } })

test('whoever sends a condition to an SQL service is told that there are no versions, and nothing is done', async () => {
  const conditions: readonly Record<string, string>[] = [{ 'if-match': '"1"' }, { 'if-match': '*' }, { 'if-none-match': '*' }]
  for (const headers of conditions) {
    const answer = await count('conditional', headers)
    expect([answer.statusCode, answer.json()]).toMatchObject([400, { code: 'PRECONDITION_UNSUPPORTED' }])
  }
  expect(runs.has('conditional')).toBe(false)
  const { body } = await server.inject({ url: '/openapi.json' })
  expect([body.includes('/stock/count'), body.includes('If-Match')]).toEqual([true, false])
})

test.each([
  ['keyed', { 'idempotency-key': 'k' }],
  ['keyless', {}],
] as const)('a handler that takes longer than its caller waits runs once: %s', { timeout: 30_000 }, async (item, key) => {
  const answer = await count(item, { ...key, prefer: 'wait=1' })
  expect(answer.statusCode).toBe(202)
  const id = (answer.headers as Record<string, string>)['twofold-command-id'] ?? ''
  slow[item].resolve()
  await until('it has ended', async () => {
    const status = (await server.inject({ url: `/commands/${id}?wait=5` })).json<{ status: string }>()
    return status.status === 'succeeded'
  })
  await until('the log is empty', async () => (await query(database.url, 'select 1 from twofold._command')).length === 0)
  expect(runs.get(item)).toBe(1)
})
