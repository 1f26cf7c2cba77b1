// Finds the server of a data folder, or makes there be one.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { TwofoldError } from '../../../errors.ts'
import { pause } from '../../../runtime/backoff.ts'
import { unusable } from './data-folder.ts'
import { keep, type Keeper } from './keeper.ts'
import { launch, type Launch } from './launch.ts'
import { endProcesses, processesIn, readPidFile, shutDown } from './server-processes.ts'
import { startingAlone } from './start-lock.ts'

/** A data folder and all that is needed to serve it. */
export interface Place extends Launch {
  readonly folder: string
  readonly password: string
  readonly log: (line: string) => void
}

export interface Found {
  readonly keeper: Keeper
  readonly port: number
  /** Whether it was there already. */
  readonly adopted: boolean
}

export interface Search {
  /** On the clock of `performance.now()`. */
  readonly endsAt: number
  /** For a server that is started anew where clients know its port. */
  readonly port?: number
  /** Gives the search up; a server it has just launched is sent away again. */
  readonly signal: AbortSignal
}

// A launch may fail because its port was taken at the last moment; one that fails for the third time has another reason.
const LAUNCHES_MAX = 3

// From exec to its pid file a server takes some 10 ms. One that has none after this has lost it, and would itself stop within a minute.
const NAMELESS_MS_MAX = 5000

/**
 * Each turn reads from files and processes which of these is true, never assuming it:
 * - *named*: the pid file names a PostgreSQL process that stands in the folder. It is connected to, for as long as it takes to come up, or
 *   to go, when its last user is just stopping it.
 * - *nameless*: a postmaster stands there whose pid file is not written yet (its starter was killed) or removed already. It is waited for.
 * - *orphaned*: only children of a dead server are left, busy with something. They are ended; a new server must not start before.
 * - *absent*: nobody stands there. A pid file names some other process by now, and is removed: the server would refuse to start for ever.
 *
 * Rejects with the signal's reason when `signal` is aborted. @throws TwofoldError DATA_FOLDER_IN_USE, DATA_FOLDER_UNUSABLE,
 * EMBEDDED_POSTGRES_FAILED
 */
export function findServer(place: Place, search: Search): Promise<Found> {
  return startingAlone(place.folder, search.endsAt, search.signal, () => look(place, search))
}

async function look(place: Place, { endsAt, port, signal }: Search): Promise<Found> {
  const { cluster, log } = place
  let launched: number | undefined
  let launches = 0
  let namelessEndsAt: number | undefined
  while (performance.now() < endsAt && !signal.aborted) {
    const pidFile = readPidFile(cluster)
    const processes = processesIn(cluster)
    if (pidFile !== undefined && processes.some(({ pid }) => pid === pidFile.pid)) {
      const keeper = pidFile.port > 0 ? await connect(place, pidFile.port, launched) : undefined
      if (keeper !== undefined) return { keeper, port: pidFile.port, adopted: pidFile.pid !== launched }
      await pause(20, signal)
    } else if (
      processes.some(({ postmaster }) => postmaster) &&
      performance.now() < (namelessEndsAt ??= performance.now() + NAMELESS_MS_MAX)
    ) {
      await pause(20, signal)
    } else if (processes.length > 0) {
      log('ending what a killed PostgreSQL left behind')
      await endProcesses(
        cluster,
        processes.map(({ pid }) => pid),
      )
    } else {
      launches += 1
      if (launches > LAUNCHES_MAX) break
      if (pidFile !== undefined) await rm(join(cluster, 'postmaster.pid'), { force: true })
      launched = await launch(place, port, endsAt)
      if (launched === undefined) await pause(100, signal)
    }
  }
  // It is still recovering, and a fast shutdown would wait for that: a second or two on a busy disk. The next start recovers instead.
  // One that took too long is left to go on: ended, it would have to begin again at every start and never be done.
  if (signal.aborted) await sendAway(cluster, launched, 'immediate')
  signal.throwIfAborted()
  throw await notStarting(place)
}

async function connect(place: Place, port: number, launched: number | undefined): Promise<Keeper | undefined> {
  try {
    return await keep(urlOf(place.password, port))
  } catch (error) {
    await sendAway(place.cluster, launched)
    const reason = `its database refuses the password in ${join(place.folder, 'password')}: put the file back that it was made with`
    throw unusable(place.folder, reason, error)
  }
}

async function sendAway(cluster: string, launched: number | undefined, how?: 'immediate'): Promise<void> {
  if (launched !== undefined && readPidFile(cluster)?.pid === launched) await shutDown(cluster, how)
}

async function notStarting({ cluster, logFile }: Place): Promise<TwofoldError> {
  const log = await readFile(logFile, 'utf8').catch(() => '')
  const tail = log.trim().split('\n').slice(-3).join(' | ')
  const message = `the embedded PostgreSQL in ${cluster} does not start; its log ends with: ${tail}`
  return new TwofoldError('EMBEDDED_POSTGRES_FAILED', message)
}

export function urlOf(password: string, port: number): string {
  return `postgres://twofold:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`
}
