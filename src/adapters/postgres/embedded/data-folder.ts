// The folder that holds everything: made, checked, and refused in one sentence when no database can live in it.
import { randomBytes } from 'node:crypto'
import { access, constants, link, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TwofoldError } from '../../../errors.ts'

/** What to do, for every folder that cannot be used. */
const CHOOSE = 'set TWOFOLD_DATA_DIR to a folder this user may write'

/** Makes the folder if need be. @throws TwofoldError DATA_FOLDER_UNUSABLE */
export async function makeDataFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined)
  if (found !== undefined && !found.isDirectory()) throw unusable(folder, `it is not a folder: ${CHOOSE}`)
  try {
    await mkdir(folder, { recursive: true })
    await access(folder, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw unusable(folder, `${(error as Error).message}: ${CHOOSE}`, error)
  }
}

/** Makes the password of user `twofold`, readable by its owner alone; keeps one that is there. @throws TwofoldError DATA_FOLDER_UNUSABLE */
export async function makePassword(folder: string): Promise<string> {
  const file = join(folder, 'password')
  const making = `${file}.${process.pid}`
  try {
    // Written under another name and linked, so that nobody ever reads half of it, and two who make it at once agree on one.
    await writeFile(making, randomBytes(24).toString('base64url'), { mode: 0o600, flush: true })
    await link(making, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  } catch (error) {
    throw unusable(folder, `${(error as Error).message}: ${CHOOSE}`, error)
  } finally {
    await rm(making, { force: true })
  }
  return readPassword(folder)
}

/** The password the folder's database was made with. @throws TwofoldError DATA_FOLDER_UNUSABLE */
export async function readPassword(folder: string): Promise<string> {
  const file = join(folder, 'password')
  const password = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw unusable(folder, `${error.message}: ${CHOOSE}`, error)
  })
  if (password === '') throw unusable(folder, `there is no password in ${file}, so that nobody can connect: put it back, or ${CHOOSE}`)
  return password
}

/** Refuses a cluster this program cannot serve. @throws TwofoldError DATA_FOLDER_UNUSABLE */
export async function checkCluster(folder: string, cluster: string, major: string): Promise<void> {
  const { uid } = await stat(cluster)
  const us = process.getuid?.()
  if (us === 0 && uid === 0)
    throw unusable(folder, `${cluster} belongs to root, as whom PostgreSQL does not run: give it to another user with chown -R`)
  if (us !== undefined && us !== 0 && uid !== us)
    throw unusable(folder, `${cluster} belongs to another user (uid ${uid}): start as that user, or ${CHOOSE}`)
  const made = (await readFile(join(cluster, 'PG_VERSION'), 'utf8').catch(() => '')).trim()
  if (made === '') throw unusable(folder, `${cluster} is no PostgreSQL data folder: set TWOFOLD_DATA_DIR to another folder`)
  if (made !== major) {
    const what = `${cluster} was made by PostgreSQL ${made} and this program brings ${major}`
    throw unusable(folder, `${what}: move it over with pg_dump and pg_restore, or set TWOFOLD_DATA_DIR to another folder`)
  }
}

export function unusable(folder: string, reason: string, cause?: unknown): TwofoldError {
  return new TwofoldError('DATA_FOLDER_UNUSABLE', `the data folder ${folder} cannot be used: ${reason}`, { cause })
}
