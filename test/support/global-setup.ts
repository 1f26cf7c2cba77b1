// One embedded PostgreSQL for the whole test run, as durable as in production; every test file makes databases of its own in it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { TestProject } from 'vitest/node'
import { kafkaSentence } from '../brokers/kafka/for-tests.ts'
import { rabbitMqSentence } from '../brokers/rabbitmq/for-tests.ts'
import { suitesSentences } from '../brokers/suites.ts'
import { startEmbeddedPostgres } from '../../src/adapters/postgres/embedded/embedded-postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    readonly postgresUrl: string
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Inherited by a run inside this one, whose copy of the sources has none.
  process.env['TWOFOLD_BROKERS'] ??= resolve('.twofold/brokers')
  const running = process.env['TWOFOLD_TEST_POSTGRES']
  if (running === undefined) {
    const lines = [`${await rabbitMqSentence()}; ${kafkaSentence()}`, ...(await suitesSentences())]
    process.stdout.write(lines.map((line) => `brokers: ${line}\n`).join(''))
  }
  // A run inside a run (test/planted) shares the server of the outer one.
  if (running !== undefined) {
    project.provide('postgresUrl', running)
    return () => Promise.resolve()
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'twofold-test-'))
  const postgres = await startEmbeddedPostgres({ dataDir })
  project.provide('postgresUrl', postgres.url)
  return async () => {
    await postgres.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}
