import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { query } from '../../../test/support/fresh-database.ts'
import { startEmbeddedPostgres } from '../../adapters/postgres/embedded/embedded-postgres.ts'
import { doctor, type Examined } from '../commands/doctor-fixture.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twofold-doctor-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const examined = (dataDir: string): Promise<Examined> => doctor(['--json'], { TWOFOLD_DATA_DIR: dataDir })

test('a folder that is not there yet is enough, and is not made', async () => {
  const dataDir = join(folder, 'some/where')
  expect((await examined(dataDir)).check('embedded')).toMatchObject({
    status: 'ok',
    found: expect.stringContaining('the first start makes'),
  })
  const { check } = await examined(dataDir)
  expect(check('embedded').found).toMatch(/^nothing in .*some\/where yet/)
  expect(check('postgres')).toEqual({})
})

test('a folder that cannot be one is a fault', async () => {
  await writeFile(join(folder, 'file'), '')
  const { exitCode, check } = await examined(join(folder, 'file/data'))
  expect(exitCode).toBe(1)
  expect(check('embedded')).toMatchObject({ status: 'fault', advice: 'set TWOFOLD_DATA_DIR to a folder this user may write' })
})

test('the embedded server is looked into while it runs, and left alone while it does not', async () => {
  const dataDir = join(folder, 'data')
  const server = await startEmbeddedPostgres({ dataDir })
  const sound = await examined(dataDir)
  expect(sound.check('embedded').found).toMatch(/runs on port \d+$/)
  expect(sound.check('postgres.durability').status).toBe('ok')
  expect(sound.exitCode).toBe(0)
  await query(server.url, 'alter system set fsync = off')
  await query(server.url, 'select pg_reload_conf()')
  let unsafe = await examined(dataDir)
  const end = performance.now() + 15_000
  while (unsafe.exitCode === 0 && performance.now() < end) unsafe = await examined(dataDir)
  expect(unsafe.check('postgres.durability')).toMatchObject({ status: 'fault', advice: 'turn fsync on in the configuration of the server' })
  await server.stop()
  const stopped = await examined(dataDir)
  expect(stopped.check('embedded').found).toMatch(/can be used; it does not run now$/)
  expect(stopped.check('postgres')).toEqual({})
  await rm(join(dataDir, 'password'))
  expect((await examined(dataDir)).check('embedded')).toMatchObject({
    status: 'fault',
    found: expect.stringContaining('there is no password'),
  })
}, 60_000)
