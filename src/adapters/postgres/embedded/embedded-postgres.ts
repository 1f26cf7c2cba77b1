// PostgreSQL as part of the program: the real server, its data in a folder, started by the first who needs it and stopped by the last.
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { backoffMs, pause } from '../../../runtime/backoff.ts'
import { findBinaries } from './binaries.ts'
import { createCluster } from './create-cluster.ts'
import { checkCluster, makeDataFolder, makePassword, readPassword } from './data-folder.ts'
import { findServer, type Found, type Place, type Search, urlOf } from './find-server.ts'
import { shutDown } from './server-processes.ts'
import { serverUser } from './server-user.ts'
import { startingAlone } from './start-lock.ts'

export interface EmbeddedPostgresOptions {
  /** Holds the database (`postgres/`), the password and the server's log. Made if it does not exist. */
  readonly dataDir: string
  /** Told what is going on, a line at a time: the first start takes a moment. */
  readonly log?: ((line: string) => void) | undefined
  /** How long recovery and start may take, in milliseconds. Default 60,000. */
  readonly startTimeoutMs?: number | undefined
}

export interface EmbeddedPostgres {
  /** `postgres://twofold:…@127.0.0.1:port/postgres`. Stays the same when the server has to be started anew. */
  readonly url: string
  readonly port: number
  /** Whether the server was running already: another program's, or left behind by one that was killed. */
  readonly adopted: boolean
  /** Leaves; the last one to leave stops the server. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const START_TIMEOUT_MS = 60_000

/** Finds or starts the server of a data folder. @throws TwofoldError DATA_FOLDER_UNUSABLE, DATA_FOLDER_IN_USE, EMBEDDED_POSTGRES_FAILED */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const stopping = new AbortController()
  const search = { endsAt: performance.now() + (options.startTimeoutMs ?? START_TIMEOUT_MS), signal: stopping.signal }
  const place = await prepare(resolve(options.dataDir), search, options.log ?? (() => undefined))
  return new RunningPostgres(place, await findServer(place, search), stopping)
}

/** Everything a server needs: its folder, its programs, its user, and on the first start its database. */
async function prepare(folder: string, { endsAt, signal }: Search, log: (line: string) => void): Promise<Place> {
  const cluster = join(folder, 'postgres')
  await makeDataFolder(folder)
  const user = await serverUser(cluster)
  const binaries = await findBinaries({ everybody: user !== undefined })
  if (!(await exists(cluster)))
    await startingAlone(folder, endsAt, signal, async () => {
      if (await exists(cluster)) return
      log(`creating a database in ${folder} (first start only)`)
      await createCluster(cluster, binaries, user, await makePassword(folder))
    })
  await checkCluster(folder, cluster, binaries.major)
  const password = await readPassword(folder)
  return { folder, cluster, logFile: join(folder, 'postgresql.log'), binaries, user, password, log }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}

class RunningPostgres implements EmbeddedPostgres {
  readonly adopted: boolean
  readonly port: number
  readonly url: string
  readonly #place: Place
  readonly #stopping: AbortController
  readonly #watching: Promise<void>
  #found: Found
  #stopped: Promise<void> | undefined

  constructor(place: Place, found: Found, stopping: AbortController) {
    this.#place = place
    this.#found = found
    this.#stopping = stopping
    this.adopted = found.adopted
    this.port = found.port
    this.url = urlOf(place.password, found.port)
    this.#watching = this.#watch()
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop(): Promise<void> {
    this.#stopping.abort()
    // A restart that is under way is given up first, so that it does not bring up a server that nobody is left to stop.
    await this.#watching
    const { keeper } = this.#found
    if (await keeper.leave()) await shutDown(this.#place.cluster)
    await keeper.end()
  }

  /** A server that dies under us (killed, out of memory) is started again at the same port, so that everybody finds it again. */
  async #watch(): Promise<void> {
    const { signal } = this.#stopping
    const stopping = new Promise<void>((wake) => signal.addEventListener('abort', () => wake(), { once: true }))
    for (;;) {
      await Promise.race([this.#found.keeper.ended, stopping])
      if (signal.aborted) return
      this.#place.log('the embedded PostgreSQL went away; starting it again')
      const again = await this.#findAgain(signal)
      if (again === undefined) return
      this.#found = again
    }
  }

  /** What stands in the way now, say a full disk, may be gone in a while: only `stop` ends the attempts. */
  async #findAgain(signal: AbortSignal): Promise<Found | undefined> {
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        return await findServer(this.#place, { endsAt: performance.now() + START_TIMEOUT_MS, port: this.port, signal })
      } catch (error) {
        if (signal.aborted) return undefined
        this.#place.log(String(error))
        await pause(backoffMs(attempt, { minMs: 500, maxMs: 10_000 }), signal)
      }
    }
    return undefined
  }
}
