// PostgreSQL refuses to run as root. Started by root, it runs as somebody without rights, who then owns the data folder.
import { readFile, stat } from 'node:fs/promises'

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
