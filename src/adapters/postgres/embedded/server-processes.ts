// Processes that work in a data folder. A PostgreSQL process stands in its data folder, so the working directory tells.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { TwofoldError } from '../../../errors.ts'
import { pause } from '../../../runtime/backoff.ts'

/** What a running server wrote into `postmaster.pid`. */
export interface PidFile {
  readonly pid: number
  /** 0 while the file is being written. */
  readonly port: number
}

export interface ServerProcess {
  readonly pid: number
  /** Whether it is the parent of the others. Its children rename themselves to `postgres: …`. */
  readonly postmaster: boolean
}

/** Undefined: there is none, or it is being written. */
export function readPidFile(cluster: string): PidFile | undefined {
  try {
    const lines = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')
    const [pid, port] = [Number(lines[0]), Number(lines[3])]
    return Number.isInteger(pid) && pid > 0 ? { pid, port: Number.isInteger(port) ? port : 0 } : undefined
  } catch {
    return undefined
  }
}

/** All PostgreSQL processes whose working directory is the data folder, zombies left out. */
export function processesIn(cluster: string): ServerProcess[] {
  const folder = statSync(cluster, { throwIfNoEntry: false })
  if (folder === undefined) return []
  if (process.platform !== 'linux') {
    const named = readPidFile(cluster)?.pid
    return pidsByLsof(cluster).map((pid) => ({ pid, postmaster: pid === named }))
  }
  return pidsByProc(cluster, folder).map((pid) => ({ pid, postmaster: !titleOf(pid).startsWith('postgres: ') }))
}

/** Sends a signal; a process that is gone already is no error. */
function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/**
 * Ends what a dead server left behind: first politely, then at once, because an orphan that goes on would write to the same files as a new
 * server. @throws TwofoldError DATA_FOLDER_IN_USE when they cannot be ended
 */
export async function endProcesses(cluster: string, pids: readonly number[]): Promise<void> {
  const left = (): number[] => processesIn(cluster).flatMap(({ pid }) => (pids.includes(pid) ? [pid] : []))
  try {
    for (const signal of ['SIGTERM', 'SIGQUIT', 'SIGKILL'] as const) {
      for (const pid of left()) signalProcess(pid, signal)
      for (let turn = 0; turn < 50; turn += 1) {
        if (left().length === 0) return
        await pause(20)
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
  }
  throw new TwofoldError('DATA_FOLDER_IN_USE', `processes ${left().join(', ')} still work in ${cluster}: end them, then start again`)
}

/**
 * Stops the server and waits until it is gone, 10 s at most. `fast`, its SIGINT: connections are ended, everything is written, and the next
 * start needs no recovery. `immediate`, its SIGQUIT: at once, and the next start recovers.
 */
export async function shutDown(cluster: string, how: 'fast' | 'immediate' = 'fast'): Promise<void> {
  const processes = processesIn(cluster)
  const named = readPidFile(cluster)?.pid
  const server = processes.find(({ pid }) => pid === named) ?? processes.find(({ postmaster }) => postmaster)
  if (server === undefined) return
  signalProcess(server.pid, how === 'fast' ? 'SIGINT' : 'SIGQUIT')
  // Only these: somebody else may start the next server in the folder as soon as the postmaster is gone.
  const going = (): boolean => processesIn(cluster).some(({ pid }) => processes.some((process) => process.pid === pid))
  for (let turn = 0; turn < 1000 && going(); turn += 1) await pause(10)
}

function pidsByProc(cluster: string, folder: Stats): number[] {
  const seen: number[] = []
  const hidden: number[] = []
  for (const pid of readdirSync('/proc').map(Number).filter(Number.isInteger)) {
    try {
      if (!readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('postgres')) continue
      const at = statSync(`/proc/${pid}/cwd`)
      if (at.dev === folder.dev && at.ino === folder.ino) seen.push(pid)
    } catch (error) {
      // Anything else is a process that ended while it was looked at.
      if ((error as NodeJS.ErrnoException).code === 'EACCES') hidden.push(pid)
    }
  }
  return hidden.length === 0 ? seen : [...seen, ...hiddenPidsIn(cluster, folder, hidden)]
}

/**
 * Root in a container usually lacks the capability to see where another user's process stands (CAP_SYS_PTRACE), while that user may always
 * look at its own. So a shell is asked, as the folder's owner. Where that is impossible the pid file is believed: taking a live server for
 * a dead one would cost the data, taking a stranger for the server only the start.
 */
function hiddenPidsIn(cluster: string, owner: Stats, pids: readonly number[]): number[] {
  const named = readPidFile(cluster)?.pid
  if (process.getuid?.() !== 0 || owner.uid === 0) return pids.filter((pid) => pid === named)
  const script = 'for pid; do if [ "/proc/$pid/cwd" -ef . ]; then echo "$pid"; fi; done'
  try {
    const answer = execFileSync('/bin/sh', ['-c', script, 'sh', ...pids.map(String)], {
      cwd: cluster,
      uid: owner.uid,
      gid: owner.gid,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return answer.split('\n').filter(Boolean).map(Number)
  } catch {
    return pids.filter((pid) => pid === named)
  }
}

function titleOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return 'postgres: gone'
  }
}

function pidsByLsof(cluster: string): number[] {
  try {
    return execFileSync('lsof', ['-a', '-d', 'cwd', '-c', 'postgres', '-t', '--', cluster], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean)
      .map(Number)
  } catch {
    return []
  }
}
