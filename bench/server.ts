// The PostgreSQL to measure on: one that is named, or an embedded one in a folder that is removed afterwards.
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedPostgres } from '../src/adapters/postgres/embedded/embedded-postgres.ts'

export interface BenchServer {
  readonly url: string
  [Symbol.asyncDispose](): Promise<void>
}

export async function benchServer(url: string | undefined): Promise<BenchServer> {
  if (url !== undefined && url !== '') return { url, [Symbol.asyncDispose]: () => Promise.resolve() }
  const folder = await mkdtemp(join(tmpdir(), 'twofold-bench-'))
  // Where this runs as root, PostgreSQL runs as another user, who must be able to reach its folder.
  await chmod(folder, 0o755)
  const server = await startEmbeddedPostgres({ dataDir: join(folder, 'data') })
  return {
    url: server.url,
    async [Symbol.asyncDispose]() {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
