// Whether the embedded PostgreSQL can live in its data folder, seen without starting it or making anything.
import { stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { packaged } from '../../adapters/postgres/embedded/binaries.ts'
import { checkCluster, makeDataFolder, readPassword } from '../../adapters/postgres/embedded/data-folder.ts'
import { urlOf } from '../../adapters/postgres/embedded/find-server.ts'
import { processesIn, readPidFile } from '../../adapters/postgres/embedded/server-processes.ts'
import { FreeSpace } from '../../adapters/postgres/free-space.ts'
import type { Finding } from './check.ts'

export interface EmbeddedFinding extends Finding {
  /** Where it runs; undefined: it does not. */
  readonly url?: string
}

/** @throws TwofoldError DATA_FOLDER_UNUSABLE, EMBEDDED_POSTGRES_FAILED */
export async function lookAtEmbedded(dataDir: string): Promise<EmbeddedFinding> {
  const { version } = await packaged()
  const folder = resolve(dataDir)
  const cluster = join(folder, 'postgres')
  const existing = await nearestExisting(folder)
  // One that exists is only looked at; it is that one's rights which decide whether the others can be made in it.
  await makeDataFolder(existing)
  const space = new FreeSpace(existing)
  await space.look()
  if (space.isLow) return { status: 'fault', found: space.sentence, advice: 'make room: new commands are refused meanwhile' }
  if (!(await exists(cluster)))
    return { status: 'ok', found: `nothing in ${folder} yet: the first start makes a database (PostgreSQL ${version})` }
  await checkCluster(folder, cluster, version.split('.')[0] ?? '')
  const password = await readPassword(folder)
  const running = readPidFile(cluster)
  const runs = running !== undefined && running.port > 0 && processesIn(cluster).some(({ pid }) => pid === running.pid)
  if (!runs)
    return {
      status: 'ok',
      found: `the database in ${folder} can be used; it does not run now`,
      advice: 'start the app and look again to see into it',
    }
  return { status: 'ok', found: `the database in ${folder} runs on port ${running.port}`, url: urlOf(password, running.port) }
}

async function nearestExisting(folder: string): Promise<string> {
  for (let at = folder; ; at = dirname(at)) if ((await exists(at)) || at === dirname(at)) return at
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
