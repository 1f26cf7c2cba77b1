import { chmod, mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { placeBinaries } from './binaries.ts'

// A small installation as npm lays it down: no links yet, and the list of those that are missing.
let folder: string
let temporary: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twofold-binaries-'))
  temporary = join(folder, 'temporary')
  await chmod(folder, 0o755)
  for (const path of ['temporary', 'native', 'native/bin', 'native/lib']) await mkdir(join(folder, path), { mode: 0o755 })
  await writeFile(join(folder, 'native/bin/postgres'), 'a program', { mode: 0o755 })
  await writeFile(join(folder, 'native/lib/libpq.so.5.18'), 'a library', { mode: 0o644 })
  const links = [{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' }]
  await writeFile(join(folder, 'native/pg-symlinks.json'), JSON.stringify(links))
  vi.stubEnv('TMPDIR', temporary)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
})

function place(everybody: boolean): Promise<string> {
  return placeBinaries(join(folder, 'native'), '18.4.0', { everybody })
}

test('links that a blocked install script did not make are made', async () => {
  expect(await place(false)).toBe(join(folder, 'native'))
  expect(await readlink(join(folder, 'native/lib/libpq.so.5'))).toBe('libpq.so.5.18')
})

test('an installation that its owner alone may read is copied to where everybody may', async () => {
  for (const [path, mode] of [
    ['bin/postgres', 0o700],
    ['lib/libpq.so.5.18', 0o600],
    ['lib', 0o700],
    ['', 0o700],
  ] as const)
    await chmod(join(folder, 'native', path), mode)
  const home = await place(true)
  expect(home.startsWith(temporary)).toBe(true)
  const modeOf = async (path: string): Promise<number> => (await stat(join(home, path))).mode & 0o777
  expect(await Promise.all(['', 'lib', 'bin/postgres', 'lib/libpq.so.5'].map(modeOf))).toEqual([0o755, 0o755, 0o755, 0o644])
  expect(await place(true)).toBe(home)
})

test('a copy that has lost a file is made anew', async () => {
  await chmod(join(folder, 'native'), 0o700)
  const home = await place(true)
  await rm(join(home, 'lib/libpq.so.5.18'))
  expect(await place(true)).toBe(home)
  expect(await readFile(join(home, 'lib/libpq.so.5'), 'utf8')).toBe('a library')
})

test('what somebody else put where the copy belongs is not run', async () => {
  await chmod(join(folder, 'native'), 0o700)
  const home = await place(true)
  await chmod(home, 0o777)
  await expect(place(true)).rejects.toMatchObject({ code: 'EMBEDDED_POSTGRES_FAILED' })
  await rm(home, { recursive: true })
  await symlink(folder, home)
  await expect(place(true)).rejects.toMatchObject({ code: 'EMBEDDED_POSTGRES_FAILED' })
})
