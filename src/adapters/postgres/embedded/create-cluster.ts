// Makes a data folder with initdb: beside the final place, then renamed into it, so that an interrupted one leaves nothing half made.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { TwofoldError } from '../../../errors.ts'
import type { Binaries } from './binaries.ts'
import { unusable } from './data-folder.ts'
import { type ServerUser, temporaryFolder } from './server-user.ts'

/** How a program sees the folder it stands in. Started by root, the server may not be able to walk to its data folder by name. */
export const STANDING_IN = '/proc/self/cwd'

/**
 * Runs initdb, with its sync: what is written later is no safer than the catalogs below it. When two do so at once, the first to finish
 * wins and the other one's work is thrown away. @throws TwofoldError DATA_FOLDER_UNUSABLE, EMBEDDED_POSTGRES_FAILED
 */
export async function createCluster(cluster: string, binaries: Binaries, user: ServerUser | undefined, password: string): Promise<void> {
  const making = `${cluster}.${process.pid}`
  const secrets = await mkdtemp(join(await temporaryFolder(), 'twofold-'))
  try {
    await removeAbandoned(cluster)
    await mkdir(making, { mode: 0o700 })
    const passwordFile = join(secrets, 'password')
    await writeFile(passwordFile, password, { mode: 0o600 })
    if (user) for (const path of [making, secrets, passwordFile]) await chown(path, user.uid, user.gid)
    await initdb(binaries.initdb, making, passwordFile, user)
    await chmod(making, 0o700)
    await rename(making, cluster)
    await syncFolder(dirname(cluster))
  } catch (error) {
    await rm(making, { recursive: true, force: true })
    const { code, message } = error as NodeJS.ErrnoException
    if (error instanceof TwofoldError) throw error
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw unusable(dirname(cluster), `no database can be made in it (${message})`, error)
  } finally {
    await rm(secrets, { recursive: true, force: true })
  }
}

/** What a program that was killed in the middle had begun; each is some 40 MB. */
async function removeAbandoned(cluster: string): Promise<void> {
  for (const name of await readdir(dirname(cluster))) {
    const pid = name.startsWith(`${basename(cluster)}.`) ? Number(name.slice(basename(cluster).length + 1)) : Number.NaN
    if (Number.isInteger(pid) && (pid === process.pid || !isAlive(pid)))
      await rm(join(dirname(cluster), name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Makes a rename in the folder survive a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
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
