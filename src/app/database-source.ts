// Where the data is: a server that was named, or the embedded PostgreSQL that is started here and belongs to this folder.
import { startEmbeddedPostgres } from '../adapters/postgres/embedded/embedded-postgres.ts'
import type { ResolvedOptions } from './options.ts'

export interface DatabaseSource {
  readonly url: string
  /** For people: the folder, or the server's address without its password. */
  readonly shown: string
  stop(): Promise<void>
}

/** Opens what `url` or `dataDir` names. @throws TwofoldError DATA_FOLDER_IN_USE, DATA_FOLDER_UNUSABLE, EMBEDDED_POSTGRES_FAILED */
export async function openDatabaseSource(
  options: Pick<ResolvedOptions, 'url' | 'dataDir'>,
  progress: (line: string) => void,
): Promise<DatabaseSource> {
  if (options.url !== undefined) return { url: options.url, shown: withoutPassword(options.url), stop: () => Promise.resolve() }
  const embedded = await startEmbeddedPostgres({ dataDir: options.dataDir, log: progress })
  return { url: embedded.url, shown: `${options.dataDir} (embedded PostgreSQL, port ${embedded.port})`, stop: () => embedded.stop() }
}

function withoutPassword(url: string): string {
  const parsed = URL.parse(url)
  if (parsed === null) return 'DATABASE_URL'
  parsed.password = ''
  return parsed.href
}
