import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { query } from '../../../test/support/fresh-database.ts'
import { command, createClient, defineApp, defineContract, entity, start, stateful, stateless } from '../../index.ts'
import { doctor, type Examined } from '../commands/doctor-fixture.ts'

const counters = defineContract('counters', {
  commands: {
    add: command({
      route: 'POST /counters/:name',
      input: z.object({ name: z.string(), amount: z.int() }),
      key: ({ name }) => name,
      reply: z.object({ total: z.int() }),
      retry: { attempts: 1 },
      afterDeath: 'park',
    }),
  },
})
const app = defineApp('counting', [
  stateful(counters, {
    entity: entity(counters, { initial: () => ({ total: 0 }) }),
    handlers: {
      add(counter, { amount }) {
        if (amount === 13) throw new Error('thirteen is not counted')
        counter.total += amount
        return { total: counter.total }
      },
    },
  }),
  stateless(counters, {}),
])

let own: TestDatabase

beforeAll(async () => {
  own = await testDatabase()
})
afterAll(() => own.drop())

const examined = (): Promise<Examined> => doctor(['--json', '--url', own.url])

/** What is counted by others, or by PostgreSQL's statistics, is there a moment later. */
async function examinedUntil(holds: (found: Examined) => boolean): Promise<Examined> {
  const end = performance.now() + 30_000
  for (;;) {
    const found = await examined()
    if (holds(found)) return found
    if (performance.now() > end) throw new Error(`it did not come to hold: ${found.output}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

test('of an app that runs it is told who runs, what it finished, and which command died and holds its key', async () => {
  const running = await start(app, { url: own.url, port: 0, logLevel: 'silent' })
  const client = createClient(counters, { url: running.url })
  for (let turn = 0; turn < 11; turn += 1)
    await Promise.all(Array.from({ length: 100 }, (_, at) => client.add({ name: `n${at}`, amount: 1 })))
  await expect(client.add({ name: 'unlucky', amount: 13 })).rejects.toMatchObject({ code: 'COMMAND_DEAD' })
  const { exitCode, check } = await examinedUntil((found) => found.check('app.outcomes').found?.includes('commands/s') === true)
  expect(exitCode).toBe(0)
  expect(check('app.instances')).toMatchObject({ status: 'ok', found: '1 instance alive (stateless+stateful+subscribers)' })
  expect(check('app.partitions')).toMatchObject({ status: 'ok', found: 'each of the 64 partitions has a live owner' })
  expect(check('app.waiting')).toMatchObject({ status: 'ok', found: 'no command waits in the log' })
  expect(check('app.outcomes').found).toMatch(/the 24 hours for which they are kept come to [\d.]+ [KMG]iB/)
  expect(check('app.dead-letters')).toMatchObject({ status: 'warning', found: expect.stringContaining('thirteen is not counted') })
  expect(check('app.parked')).toMatchObject({
    status: 'warning',
    found: expect.stringMatching(/^1 command of 1 key are held .*'unlucky' of 'counters'.* 1 key until an operator says so$/),
    advice: expect.stringContaining('select twofold.release_key'),
  })
  await running.stop()
  expect((await examined()).check('app.instances')).toMatchObject({ status: 'ok', found: 'no instance runs now' })
}, 60_000)

test('commands that nobody takes are counted, and the missing role is named', async () => {
  const running = await start(app, { url: own.url, port: 0, logLevel: 'silent', roles: ['stateless'] })
  const client = createClient(counters, { url: running.url })
  await client.add({ name: 'a', amount: 1 }, { respond: 'accepted' })
  await client.add({ name: 'b', amount: 1 }, { respond: 'accepted' })
  const fresh = await examinedUntil((found) => found.check('app.waiting').found?.startsWith('2 commands') === true)
  expect(fresh.check('app.waiting').status).toBe('ok')
  expect(fresh.check('app.instances')).toMatchObject({ status: 'warning', found: expect.stringContaining(`none with the role 'stateful'`) })
  expect(fresh.check('app.partitions').found).toMatch(/^64 of 64 partitions have no live owner, as nobody/)
  await query(own.url, `update twofold._command set appended_at = appended_at - interval '2 hours'`)
  const late = await examinedUntil((found) => found.check('app.waiting').status === 'warning')
  expect(late.check('app.waiting').found).toMatch(/^2 commands \([\d.]+ (bytes|KiB)\) wait in the log, the oldest for 2 h$/)
  await running.stop()
  // Nobody counts any more: now the log itself is asked.
  await query(own.url, 'truncate twofold._backlog')
  expect((await examined()).check('app.waiting')).toMatchObject({ status: 'warning', found: late.check('app.waiting').found })
}, 60_000)

test('partitions that a live stateful instance does not own are a warning', async () => {
  await query(
    own.url,
    `insert into twofold._instance (id, roles, lease_until)
    values (gen_random_uuid(), '{stateful}', clock_timestamp() + interval '1 hour')`,
  )
  expect((await examined()).check('app.partitions')).toMatchObject({ status: 'warning', found: '64 of 64 partitions have no live owner' })
})
