// Slow handlers are not stuck ones: however many of them wait, their owner keeps its lease and gets on.
import { expect, test } from 'vitest'
import { z } from 'zod'
import { command, defineApp, defineContract, entity, stateful } from 'twofold'
import { startBackend } from '../../src/app/backend.ts'
import { resolveOptions } from '../../src/app/options.ts'
import type { Envelope } from '../../src/contract/envelope.ts'
import { until } from '../e2e/program.ts'
import { testDatabase } from '../support/database.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

const HANDLER_MS = 20

const toils = defineContract('toils', {
  commands: { toil: command({ input: z.object({ key: z.string(), number: z.int() }), key: ({ key }) => key }) },
})

const toilsSide = stateful(toils, {
  entity: entity(toils, { initial: () => [] as number[] }),
  handlers: {
    toil(numbers, { number }) {
      for (const over = performance.now() + HANDLER_MS; performance.now() < over;);
      numbers.push(number)
    },
  },
})

// Rules 20 and 24
test('hundreds of commands that take 20 ms each finish once, in order, and their owner keeps its lease', { timeout: 60_000 }, async () => {
  const database = await testDatabase()
  const options = resolveOptions({ roles: ['stateful'], leaseMs: 2000, partitionCount: 8 })
  const backend = await startBackend(defineApp('toils', [toilsSide]), database.url, options, quiet)
  const { ids, log, direct, database: pool } = backend.ports
  const epochs = async (): Promise<unknown> =>
    (await pool.query(`select string_agg(owner || ' ' || epoch, ',' order by partition) as all from twofold.partition`)).rows
  const before = await epochs()
  const keys = Array.from({ length: 10 }, (_, at) => `key-${at}`)
  const toil = (at: number): Envelope => {
    const given = { key: keys[at % keys.length] ?? '', number: at }
    return { id: ids.next(), service: 'toils', command: 'toil', keys: [given.key], input: JSON.stringify(given) }
  }
  await Promise.all(Array.from({ length: 150 }, (_, at) => log.append({ envelope: toil(at) })))
  const called = await Promise.all(Array.from({ length: 150 }, async (_, at) => direct?.call(toil(150 + at))))
  expect(new Set(called.map((result) => result?.status))).toEqual(new Set(['finished']))
  await until('all have an outcome', async () => (await pool.query('select from twofold.outcome')).rows.length === 300)
  const states = await pool.query('select key, state from twofold.entity')
  const stored = Object.fromEntries(states.rows.map(({ key, state }) => [key, state]))
  expect(stored).toEqual(Object.fromEntries(keys.map((key, first) => [key, Array.from({ length: 30 }, (_, at) => first + 10 * at)])))
  expect(await epochs()).toEqual(before)
  await backend.stop()
  await database.drop()
})
