// What a command costs in processor time, in Node and in PostgreSQL. Unlike a rate it says the same on a machine that others use too.
import { readdirSync, readFileSync } from 'node:fs'
import type pg from 'pg'

/** Microseconds of processor time per command, user and system together. `postgresCpuUs` is missing where the server is on another machine. */
export interface Cpu {
  readonly nodeCpuUs: number
  readonly postgresCpuUs?: number
}

/** Linux counts processor time in hundredths of a second, whatever the kernel's own clock is. */
const TICK_US = 10_000

/**
 * Runs a load and says what each of its commands cost. `commands` tells their number from what the load returned; `node` is the process
 * that handled them, by default this one.
 */
export async function withCpu<Value>(
  client: pg.ClientBase,
  run: () => Promise<Value>,
  commands: (value: Value) => number,
  node = process.pid,
): Promise<Value & Cpu> {
  const server = await serverProcess(client)
  const before = { node: nodeUs(node), postgres: postgresUs(server) }
  const value = await run()
  const nodeCpu = nodeUs(node) - before.node
  const after = postgresUs(server)
  const postgres = before.postgres === undefined || after === undefined ? undefined : after - before.postgres
  const count = commands(value)
  return { ...value, nodeCpuUs: nodeCpu / count, ...(postgres === undefined ? {} : { postgresCpuUs: postgres / count }) }
}

function nodeUs(pid: number): number {
  if (pid !== process.pid) return (processOf(pid)?.ticks ?? Number.NaN) * TICK_US
  const { user, system } = process.cpuUsage()
  return user + system
}

/** The process that all others of the server are children of. */
async function serverProcess(client: pg.ClientBase): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  const backend = processOf(rows[0]?.pid ?? 0)
  return backend?.name === 'postgres' ? backend.parent : undefined
}

/** What the server and its children have used so far, those that have ended included. */
function postgresUs(server: number | undefined): number | undefined {
  const own = server === undefined ? undefined : processOf(server)
  if (own === undefined) return undefined
  const children = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (processOf(Number(name)) ?? []) : []))
  const alive = children.filter(({ parent }) => parent === server)
  return (own.ticks + own.endedChildrenTicks + alive.reduce((sum, { ticks }) => sum + ticks, 0)) * TICK_US
}

/**
 * Microseconds for which a process of that name has been on a processor so far, from /proc/PID/schedstat: far finer than its ticks. Undefined
 * where there is no such process, or no such file.
 */
export function onCpuUs(pid: number, name: string): number | undefined {
  if (processOf(pid)?.name !== name) return undefined
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1000
  } catch {
    return undefined
  }
}

interface Process {
  readonly name: string
  readonly parent: number
  readonly ticks: number
  readonly endedChildrenTicks: number
}

/** From /proc/PID/stat (proc_pid_stat(5)); undefined where there is no such process or no /proc. */
function processOf(pid: number): Process | undefined {
  let text
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // The name stands in parentheses and may hold any character; what follows is numbers from the third field on.
  const end = text.lastIndexOf(')')
  const fields = text.slice(end + 2).split(' ')
  const number = (field: number): number => Number(fields[field - 3])
  return {
    name: text.slice(text.indexOf('(') + 1, end),
    parent: number(4),
    ticks: number(14) + number(15),
    endedChildrenTicks: number(16) + number(17),
  }
}
