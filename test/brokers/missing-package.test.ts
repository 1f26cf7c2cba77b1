// A broker whose npm package is not installed: one sentence that says what to install, from a start and from `twofold doctor`.
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Check } from '../../src/cli/doctor/check.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

const program = `
import { defineApp, run } from 'twofold'
await run(defineApp('bare', []), { port: 0, logLevel: 'silent', roles: ['stateless'] })
`

let folder: string
let database: TestDatabase

beforeAll(async () => {
  database = await testDatabase()
  folder = await mkdtemp(join(tmpdir(), 'twofold-missing-package-'))
  await cp('src', join(folder, 'src'), { recursive: true })
  await cp('package.json', join(folder, 'package.json'))
  await writeFile(join(folder, 'main.ts'), program)
  const modules = join(folder, 'node_modules')
  await mkdir(modules)
  const missing = new Set(['amqplib', '@platformatic', 'kysely'])
  const others = (await readdir('node_modules')).filter((name) => !missing.has(name) && !name.startsWith('.'))
  await Promise.all(others.map((name) => symlink(resolve('node_modules', name), join(modules, name))))
}, 60_000)
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
  await database.drop()
})

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function ended(carrier: string, ...words: readonly string[]): Promise<Ended> {
  const environment = { PATH: process.env['PATH'], DATABASE_URL: database.url, TWOFOLD_CARRIER: carrier }
  return new Promise((done) => {
    execFile(process.execPath, ['--conditions=source', ...words], { cwd: folder, env: environment }, (error, stdout, stderr) => {
      done({ code: Number(error?.code ?? 0), stdout, stderr })
    })
  })
}

test.each([
  ['rabbitmq', 'amqplib'],
  ['kafka', '@platformatic/kafka'],
])('%s without %s says what to install', { timeout: 60_000 }, async (carrier, name) => {
  const sentence = `carrier '${carrier}' needs the package ${name}, which is not installed`
  const started = await ended(carrier, 'main.ts')
  expect(started).toMatchObject({ code: 1, stderr: `bare cannot start: ${sentence}: npm install ${name} (INVALID_OPTIONS)\n` })
  const doctor = await ended(carrier, 'src/cli/main.ts', 'doctor', '--json')
  expect(doctor).toMatchObject({ code: 1, stderr: '' })
  const { checks } = JSON.parse(doctor.stdout) as { readonly checks: readonly Check[] }
  const about = checks.filter(({ name: each }) => each.startsWith(carrier))
  expect(about).toEqual([{ name: carrier, status: 'fault', found: sentence, advice: `npm install ${name}` }])
})

test('without any of them PostgreSQL carries the commands, and doctor tells what each carrier promises', { timeout: 60_000 }, async () => {
  const doctor = await ended('postgres', 'src/cli/main.ts', 'doctor', '--json')
  expect(doctor).toMatchObject({ code: 0, stderr: '' })
  const { checks } = JSON.parse(doctor.stdout) as { readonly checks: readonly Check[] }
  const promises = checks.filter(({ name }) => name.startsWith('carrier.')).map(({ found }) => found)
  expect(promises).toHaveLength(3)
  expect(new Set(promises).size).toBe(3)
})
