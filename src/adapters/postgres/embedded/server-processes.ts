// Processes that work in a data folder. A PostgreSQL process stands in its data folder, so the working directory tells.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** What a running server wrote into `postmaster.pid`. */
export interface PidFile {
  readonly pid: number
  readonly port: number
}

/** Undefined: there is none, or it is being written. */
export function readPidFile(cluster: string): PidFile | undefined {
  try {
    const lines = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')
    const [pid, port] = [Number(lines[0]), Number(lines[3])]
    return Number.isInteger(pid) && pid > 0 ? { pid, port } : undefined
  } catch {
    return undefined
  }
}

/** All processes whose working directory is the data folder, zombies left out. */
export function processesIn(cluster: string): number[] {
  const folder = statSync(cluster, { throwIfNoEntry: false })
  if (folder === undefined) return []
  if (process.platform !== 'linux') return processesByLsof(cluster)
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const at = statSync(`/proc/${pid}/cwd`)
        return at.dev === folder.dev && at.ino === folder.ino && readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('postgres')
      } catch {
        return false
      }
    })
}

/** Sends a signal; a process that is gone already is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function processesByLsof(cluster: string): number[] {
  try {
    return execFileSync('lsof', ['-a', '-d', 'cwd', '-c', 'postgres', '-t', '--', cluster], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean)
      .map(Number)
  } catch {
    return []
  }
}
