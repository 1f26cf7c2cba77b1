// Makes a data folder with initdb: beside the final place, then renamed into it, so that an interrupted one leaves nothing half made.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TwofoldError } from '../../../errors.ts'
import type { Binaries } from './binaries.ts'
import type { ServerUser } from './server-user.ts'

/** How a program sees the folder it stands in. Started by root, the server may not be able to walk to its data folder by name. */
export const STANDING_IN = '/proc/self/cwd'

/** The password of user `twofold`, made once per folder and readable by its owner alone. */
export async function passwordOf(folder: string): Promise<string> {
  const file = join(folder, 'password')
  await writeFile(file, randomBytes(24).toString('base64url'), { flag: 'wx', mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  return readFile(file, 'utf8')
}

/** Runs initdb. When two do so at once, the first to finish wins and the other one's work is thrown away. */
export async function createCluster(cluster: string, binaries: Binaries, user: ServerUser | undefined, password: string): Promise<void> {
  const making = `${cluster}.${process.pid}`
  await rm(making, { recursive: true, force: true })
  await mkdir(making, { mode: 0o700 })
  const secrets = await mkdtemp(join(tmpdir(), 'twofold-'))
  const passwordFile = join(secrets, 'password')
  await writeFile(passwordFile, password, { mode: 0o600 })
  if (user) for (const path of [making, secrets, passwordFile]) await chown(path, user.uid, user.gid)
  try {
    await initdb(binaries.initdb, making, passwordFile, user)
    await chmod(making, 0o700)
    await rename(making, cluster)
  } catch (error) {
    await rm(making, { recursive: true, force: true })
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
  } finally {
    await rm(secrets, { recursive: true, force: true })
  }
}

async function initdb(program: string, making: string, passwordFile: string, user: ServerUser | undefined): Promise<void> {
  const words = [
    '--username=twofold',
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--no-instructions',
    '--no-sync',
  ]
  const child = spawn(program, [...words, '-D', user ? STANDING_IN : making], {
    cwd: making,
    ...user,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: serverEnvironment,
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const [code] = (await once(child, 'close').catch((error: unknown) => {
    throw new TwofoldError('EMBEDDED_POSTGRES_FAILED', `cannot run ${program}: ${String(error)}`, { cause: error })
  })) as [number | null]
  if (code !== 0) throw new TwofoldError('EMBEDDED_POSTGRES_FAILED', `initdb failed: ${output.trim().split('\n').slice(-3).join(' ')}`)
}

/** Nothing of the caller's environment: PGDATA, PGOPTIONS or a language of somebody's terminal must not change what a server does. */
export const serverEnvironment: NodeJS.ProcessEnv = { LC_ALL: 'C' }
