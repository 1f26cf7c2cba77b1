// PostgreSQL as part of the program: the real server, its data in a folder, started by the first who needs it and stopped by the last.
import { mkdir, readFile, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { TwofoldError } from '../../../errors.ts'
import { pause } from '../../../runtime/backoff.ts'
import { findBinaries } from './binaries.ts'
import { createCluster, passwordOf } from './create-cluster.ts'
import { keep, type Keeper } from './keeper.ts'
import { launch, type Launch } from './launch.ts'
import { processesIn, readPidFile, signalProcess } from './server-processes.ts'
import { serverUser } from './server-user.ts'

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

/**
 * `absent`: no server stands in the folder. `launching`: a process was started and does not answer yet, or another program's is just
 * coming up. `running`: it answers and we hold a connection to it. `orphaned`: processes of a dead server are still at work in the
 * folder, so that a new one must not start; they are ended first. Which of these it is is read from the processes, never assumed.
 * @throws TwofoldError DATA_FOLDER_UNUSABLE, DATA_FOLDER_IN_USE, EMBEDDED_POSTGRES_FAILED
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const folder = resolve(options.dataDir)
  const cluster = join(folder, 'postgres')
  const log = options.log ?? (() => undefined)
  await makeFolder(folder)
  const password = await passwordOf(folder).catch((error: unknown) => {
    throw unusable(folder, String(error))
  })
  const user = await serverUser(cluster)
  const binaries = await findBinaries({ everybody: user !== undefined })
  if ((await stat(cluster).catch(() => undefined)) === undefined) {
    log(`creating a database in ${options.dataDir} (first start only)`)
    await createCluster(cluster, binaries, user, password)
  }
  const major = await readFile(join(cluster, 'PG_VERSION'), 'utf8').catch(() => '')
  if (major.trim() !== binaries.major) {
    const what =
      major.trim() === '' ? 'no PostgreSQL data folder' : `made by PostgreSQL ${major.trim()}, this program brings ${binaries.major}`
    throw unusable(folder, `${cluster} is ${what}: set TWOFOLD_DATA_DIR to another folder`)
  }
  const launching: Launch = { cluster, logFile: join(folder, 'postgresql.log'), binaries, user }
  const found = await running(launching, password, performance.now() + (options.startTimeoutMs ?? 60_000), undefined, log)
  return new RunningPostgres(launching, password, found, log)
}

interface Found {
  readonly keeper: Keeper
  readonly port: number
  readonly adopted: boolean
}

/** Finds or makes a running server. Every turn looks at the folder anew, because others may be at work on it too. */
async function running(
  launching: Launch,
  password: string,
  endsAt: number,
  port: number | undefined,
  log: (line: string) => void,
): Promise<Found> {
  const { cluster } = launching
  let launched = false
  // A start that fails because another program was faster is followed by finding that one's server; three that are not are a fault.
  for (let failures = 0; failures < 3 && performance.now() < endsAt;) {
    const pidFile = readPidFile(cluster)
    const processes = processesIn(cluster)
    if (pidFile !== undefined && processes.includes(pidFile.pid)) {
      const keeper = pidFile.port > 0 ? await keep(urlOf(password, pidFile.port)) : undefined
      if (keeper !== undefined) return { keeper, port: pidFile.port, adopted: !launched }
      await pause(20)
    } else if (processes.length > 0 && !launched) {
      log('ending what a killed PostgreSQL left behind')
      await endProcesses(cluster, processes)
    } else if (pidFile !== undefined && !launched) {
      // It names a process that is not a PostgreSQL of this folder, perhaps somebody else's by now; the server would refuse to start.
      await rm(join(cluster, 'postmaster.pid'), { force: true })
    } else {
      launched = await launch(launching, port, endsAt)
      if (!launched) failures += 1
      if (!launched) await pause(100)
    }
  }
  const tail = (await readFile(launching.logFile, 'utf8').catch(() => '')).trim().split('\n').slice(-3).join(' | ')
  throw new TwofoldError('EMBEDDED_POSTGRES_FAILED', `the embedded PostgreSQL in ${cluster} does not start; its log ends with: ${tail}`)
}

/** First politely, then at once: an orphan that goes on would write to the same files as the new server. */
async function endProcesses(cluster: string, processes: readonly number[]): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGQUIT', 'SIGKILL'] as const) {
    for (const pid of processesIn(cluster).filter((each) => processes.includes(each))) signalProcess(pid, signal)
    for (let turn = 0; turn < 50; turn += 1) {
      if (!processesIn(cluster).some((pid) => processes.includes(pid))) return
      await pause(20)
    }
  }
  throw new TwofoldError('DATA_FOLDER_IN_USE', `processes ${processes.join(', ')} still work in ${cluster}: end them, then start again`)
}

class RunningPostgres implements EmbeddedPostgres {
  readonly adopted: boolean
  readonly port: number
  readonly url: string
  readonly #launching: Launch
  readonly #password: string
  readonly #log: (line: string) => void
  #keeper: Keeper | undefined
  #stopped: Promise<void> | undefined
  #watching: Promise<void>

  constructor(launching: Launch, password: string, found: Found, log: (line: string) => void) {
    this.#launching = launching
    this.#password = password
    this.#log = log
    this.#keeper = found.keeper
    this.adopted = found.adopted
    this.port = found.port
    this.url = urlOf(password, found.port)
    this.#watching = this.#watch(found.keeper)
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop(): Promise<void> {
    const keeper = this.#keeper
    const last = keeper !== undefined && (await keeper.leave())
    if (last) {
      const pid = readPidFile(this.#launching.cluster)?.pid
      // SIGINT is the "fast" shutdown: connections are ended, everything is written, and the next start needs no recovery.
      if (pid !== undefined && processesIn(this.#launching.cluster).includes(pid)) signalProcess(pid, 'SIGINT')
      await keeper.end()
      for (let turn = 0; turn < 1000 && processesIn(this.#launching.cluster).length > 0; turn += 1) await pause(10)
    } else await keeper?.end()
    await this.#watching
  }

  /** A server that dies under us (killed, out of memory) is started again at the same port, so that everybody finds it again. */
  async #watch(keeper: Keeper): Promise<void> {
    for (let current = keeper; ;) {
      await current.ended
      if (this.#stopped !== undefined) return
      this.#keeper = undefined
      this.#log('the embedded PostgreSQL went away; starting it again')
      const found = await running(this.#launching, this.#password, performance.now() + 60_000, this.port, this.#log).catch(
        (error: unknown) => {
          this.#log(String(error))
        },
      )
      if (found === undefined) return
      current = found.keeper
      this.#keeper = current
      if (this.#stopped !== undefined) return current.end()
    }
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true })
  } catch (error) {
    throw unusable(folder, `it cannot be made (${(error as Error).message}): set TWOFOLD_DATA_DIR to a folder that can be written`, error)
  }
}

function unusable(folder: string, reason: string, cause?: unknown): TwofoldError {
  return new TwofoldError('DATA_FOLDER_UNUSABLE', `the data folder ${folder} cannot be used: ${reason}`, { cause })
}

function urlOf(password: string, port: number): string {
  return `postgres://twofold:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`
}
