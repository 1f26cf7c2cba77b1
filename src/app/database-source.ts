// Where the data is: a server that was named, or the embedded PostgreSQL that is started here and belongs to this folder.
import { startEmbeddedPostgres } from '../adapters/postgres/embedded/embedded-postgres.ts'
import { preflight, shownUrl } from '../adapters/postgres/preflight.ts'
import type { ResolvedOptions } from './options.ts'

export interface DatabaseSource {
  readonly url: string
  /** For people: the folder, or the server's address without its password. */
  readonly shown: string
  stop(): Promise<void>
}

/**
 * Opens what `url` or `dataDir` names. A server that was named is looked at first, and waited for `patienceMs` (default 10,000).
 * @throws TwofoldError DATA_FOLDER_IN_USE, DATA_FOLDER_UNUSABLE, EMBEDDED_POSTGRES_FAILED, or see `preflight`
 */
export async function openDatabaseSource(
  options: Pick<ResolvedOptions, 'url' | 'dataDir'>,
  progress: (line: string) => void,
  patienceMs?: number,
): Promise<DatabaseSource> {
  if (options.url !== undefined) {
    await preflight(options.url, { progress, patienceMs })
    return { url: options.url, shown: shownUrl(options.url), stop: () => Promise.resolve() }
  }
  const embedded = await startEmbeddedPostgres({ dataDir: options.dataDir, log: progress })
  return { url: embedded.url, shown: `${options.dataDir} (embedded PostgreSQL, port ${embedded.port})`, stop: () => embedded.stop() }
}
