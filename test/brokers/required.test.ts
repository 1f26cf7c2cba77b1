// `npm run test:brokers` does not pass where a broker is missing, and says which.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'

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

test('npm run test:brokers asks for them first, and then runs all that needs one', async () => {
  const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as { scripts: Record<string, string> }
  const [first, then, ...others] = scripts['test:brokers']?.split(' && ') ?? []
  expect(others).toEqual([])
  expect(first).toMatch(/ test\/brokers\/required\.ts$/)
  expect(then?.split(' ')).toEqual(['vitest', 'run', 'test/carriers', 'src/adapters/rabbitmq', 'src/adapters/kafka'])
})
