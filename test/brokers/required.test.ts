// `npm run test:brokers` does not pass where a broker is missing, and says which.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { brokerSuites } from './suites.ts'

test('a broker that is missing is one sentence each, and the end', { timeout: 30_000 }, async () => {
  const empty = await mkdtemp(join(tmpdir(), 'twofold-no-brokers-'))
  const environment = { ...process.env, AMQP_URL: 'amqp://guest:secret@127.0.0.1:1', TWOFOLD_BROKERS: empty }
  const child = spawn(process.execPath, ['--conditions=source', 'test/brokers/required.ts'], {
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const [told, [code]] = await Promise.all([text(child.stderr), once(child, 'close')])
  await rm(empty, { recursive: true })
  expect(code).toBe(1)
  const sentences = told.trim().split('\n')
  expect(sentences).toContainEqual(expect.stringMatching(/^RabbitMQ does not answer at 127\.0\.0\.1:1: .*AMQP_URL/))
  expect(sentences).toContainEqual(expect.stringMatching(/^Kafka is not there: 'npm run kafka -- --fetch'/))
  expect(told).not.toContain('secret')
})

test('npm run test:brokers asks for them first, and then runs every test file that needs one', async () => {
  const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as { scripts: Record<string, string> }
  const [first, then, ...others] = scripts['test:brokers']?.split(' && ') ?? []
  expect(others).toEqual([])
  expect(first).toMatch(/ test\/brokers\/required\.ts$/)
  const [vitest, run, ...filters] = then?.split(' ') ?? []
  expect([vitest, run]).toEqual(['vitest', 'run'])
  const suites = brokerSuites().map(({ file }) => file)
  for (const file of ['test/carriers/conformance.test.ts', 'src/cli/doctor/kafka.test.ts', 'test/e2e/kill.test.ts'])
    expect(suites).toContain(file)
  // Planted bugs are of all parts; `npm test` plants them.
  const left = suites.filter((file) => !filters.some((filter) => file.includes(filter)))
  expect(left).toEqual(['test/planted/planted-bugs.test.ts'])
})

test('npm test says which test files do not run for want of a broker, and which do', async () => {
  const child = spawn(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', 'src/cli/doctor/machine'], {
    env: { ...withoutVitest(), AMQP_URL: 'amqp://guest:secret@127.0.0.1:1' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [told] = await Promise.all([text(child.stdout), once(child, 'close')])
  const line = (start: string): string => told.split('\n').find((each) => each.startsWith(`brokers: ${start}`)) ?? ''
  expect(line('no RabbitMQ at 127.0.0.1:1')).not.toBe('')
  expect(line('NOT run, or not all of it, for want of a RabbitMQ: ').split(' ')).toContain('src/cli/doctor/rabbitmq.test.ts')
  expect(line('run whole: ')).not.toContain('rabbitmq.test.ts')
  expect(told).not.toContain('secret')
}, 60_000)

/** A run of its own, with a server of its own. */
function withoutVitest(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST$|NODE_ENV$|TWOFOLD_TEST_)/.test(name)))
}
