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
  const stop = async (): Promise<void> => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
  // A run that is called off half-way must not leave its server behind.
  const callOff = (): void => {
    // Connections of whatever was being measured are cut now, and say so by errors that are nobody's any more.
    process.on('uncaughtException', () => undefined)
    void stop().finally(() => process.exit(130))
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, callOff)
  return {
    url: server.url,
    async [Symbol.asyncDispose]() {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, callOff)
      await stop()
    },
  }
}
