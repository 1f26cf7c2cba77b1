// PostgreSQL refuses to run as root. Started by root, it runs as somebody without rights, who then owns the data folder.
import { readFile, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname } from 'node:path'

/** Undefined: as ourselves. */
export interface ServerUser {
  readonly uid: number
  readonly gid: number
}

/** The owner of an existing data folder, otherwise the system's `postgres`, otherwise `nobody`. */
export async function serverUser(cluster: string): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const owner = await stat(cluster).catch(() => undefined)
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid }
  const users = await readFile('/etc/passwd', 'utf8').catch(() => '')
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] =
      users
        .split('\n')
        .find((line) => line.startsWith(`${name}:`))
        ?.split(':') ?? []
    if (Number(uid) > 0) return { uid: Number(uid), gid: Number(gid) }
  }
  return { uid: 65_534, gid: 65_534 }
}

/** Whether anybody may execute `path`, or enter it if it is a folder, and get there through every folder above it. */
export async function reachableByAll(path: string): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    const { mode } = await stat(at)
    if ((mode & 0o001) === 0) return false
    if (at === dirname(at)) return true
  }
}

/** The folder of temporary files, unless it is root's own: then one the server's user gets to as well. */
export async function temporaryFolder(): Promise<string> {
  const own = tmpdir()
  return process.getuid?.() !== 0 || (await reachableByAll(own).catch(() => false)) ? own : '/tmp'
}
