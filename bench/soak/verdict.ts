// What a soak must show: the last commands are as cheap and as fast as the first, and what is emptied stays small.
import type { Reference } from './reference.ts'
import type { TableSize } from './table-sizes.ts'
import type { Way } from './credits.ts'

/** Some 100,000 commands of the soak, and the tables after them. */
export interface SoakWindow {
  readonly way: Way
  /** Commands so far. */
  readonly done: number
  readonly perSecond: number
  readonly nodeCpuUs: number
  readonly postgresCpuUs: number
  /** What a fixed piece of work cost beside this window. */
  readonly reference: Reference
  /** The share of the machine, from 0 to 1, that was busy with something else. */
  readonly othersShare: number
  /** While a reader holds a snapshot: how many versions each entity has got since, which PostgreSQL keeps. */
  readonly versionsHeld?: number
  readonly tables: Readonly<Record<string, TableSize>>
}

/**
 * Windows of each way at each end whose median is compared. They take longer than it is from one checkpoint, or one round of autovacuum, to
 * the next: those cost some windows half as much again, and the first million commands come before there is anything for them to do.
 */
export const AT_EACH_END = 15

const TOLERANCE = 0.1

/**
 * While a snapshot is held PostgreSQL keeps every version of an entity, and an update walks over them all: so much processor time each may
 * cost beyond that of the first windows, in microseconds. 0.9 was measured.
 */
const VERSION_US_MAX = 1.5

/** MiB that may lie in tables which are emptied all the time; they never held more than a few pages. */
const BOUNDED = { _parked: 1, _attempt: 1, _partition: 1, _instance: 1 }

/**
 * The log grows until autovacuum has come round, which takes it up to three naps of 10 s, and then starts again. So it may hold what is
 * appended in that time at the fastest, with 100 B of table and indexes a command; 80 were measured.
 */
const LOG_SECONDS = 30
const LOG_BYTES = 100

/**
 * 10,000 entities are 3.4 MiB. Between two rounds of autovacuum some 4 % of up to 110,000 updates a second find no room on their page and leave
 * a dead version for vacuum; with those it was 13 to 17 MiB after 2 million commands, and grew no more. Of a held snapshot each window leaves
 * its versions, 9 to 12 MiB, and the table keeps that size.
 */
const ENTITY_MIB = 24
const ENTITY_MIB_PER_HELD_WINDOW = 12

/** One sentence for everything that has become worse; none: nothing rots. */
export function faultsOf(windows: readonly SoakWindow[]): string[] {
  const even = atOneSpeed(windows)
  return [...(['direct', 'log'] as const).flatMap((way) => slower(even, way)), ...larger(windows), ...largerEntities(windows)]
}

/**
 * Cost and rate as they would be if the processors were as fast in every window as in the middle one: processor time for Node and for
 * PostgreSQL by its own reference, the rate by what that makes of both together.
 */
function atOneSpeed(windows: readonly SoakWindow[]): SoakWindow[] {
  const usual = {
    nodeUs: median(windows.map(({ reference }) => reference.nodeUs)),
    postgresUs: median(windows.map(({ reference }) => reference.postgresUs ?? 0)),
  }
  return windows.map((window) => {
    const { nodeUs, postgresUs = usual.postgresUs } = window.reference
    const nodeCpuUs = (window.nodeCpuUs * usual.nodeUs) / nodeUs
    const postgresCpuUs = postgresUs === 0 ? window.postgresCpuUs : (window.postgresCpuUs * usual.postgresUs) / postgresUs
    return { ...window, nodeCpuUs, postgresCpuUs, perSecond: (window.perSecond * cpuUsOf(window)) / (nodeCpuUs + postgresCpuUs) }
  })
}

/**
 * Processor time and rate are judged apart: what waits for a lock or for the disk costs no processor time. A rate that fell is excused only
 * where others used more of the machine at last than at first, by more than the tolerance.
 */
function slower(windows: readonly SoakWindow[], way: Way): string[] {
  const own = windows.filter((window) => window.way === way)
  const free = own.filter(({ versionsHeld }) => versionsHeld === undefined)
  const [first, last] = [endOf(free.slice(0, AT_EACH_END)), endOf(free.slice(-AT_EACH_END))]
  const held = Math.max(0, ...own.map((window) => (window.versionsHeld ? (cpuUsOf(window) - first.cpuUs) / window.versionsHeld : 0)))
  const faults: string[] = []
  if (last.cpuUs > first.cpuUs * (1 + TOLERANCE))
    faults.push(
      `${way}: a command cost ${first.cpuUs.toFixed(1)} µs of processor time at first and ${last.cpuUs.toFixed(1)} µs at last, on processors of one speed`,
    )
  if (last.perSecond < first.perSecond * (1 - TOLERANCE) && last.othersShare <= first.othersShare + TOLERANCE)
    faults.push(`${way}: ${first.perSecond.toFixed(0)}/s at first and ${last.perSecond.toFixed(0)}/s at last, with as much of the machine`)
  if (held > VERSION_US_MAX)
    faults.push(
      `${way}: ${held.toFixed(1)} µs of processor time for each version that a held snapshot keeps; ${VERSION_US_MAX} is its bound`,
    )
  return faults
}

interface End {
  readonly perSecond: number
  readonly cpuUs: number
  readonly othersShare: number
}

function endOf(windows: readonly SoakWindow[]): End {
  return {
    perSecond: median(windows.map(({ perSecond }) => perSecond)),
    cpuUs: median(windows.map(cpuUsOf)),
    othersShare: median(windows.map(({ othersShare }) => othersShare)),
  }
}

function cpuUsOf({ nodeCpuUs, postgresCpuUs }: SoakWindow): number {
  return nodeCpuUs + postgresCpuUs
}

function larger(windows: readonly SoakWindow[]): string[] {
  const fastest = Math.max(0, ...windows.filter(({ way }) => way === 'log').map(({ perSecond }) => perSecond))
  return [
    ...tooLarge(windows, '_command', Math.ceil((fastest * LOG_SECONDS * LOG_BYTES) / 2 ** 20)),
    ...Object.entries(BOUNDED).flatMap(([name, mib]) => tooLarge(windows, name, mib)),
  ]
}

/** Before a snapshot is held, and from then on. */
function largerEntities(windows: readonly SoakWindow[]): string[] {
  const heldFrom = windows.findIndex(({ versionsHeld }) => versionsHeld !== undefined)
  const until = heldFrom < 0 ? windows.length : heldFrom
  const held = windows.filter(({ versionsHeld }) => versionsHeld !== undefined).length
  return [
    ...tooLarge(windows.slice(0, until), '_entity', ENTITY_MIB),
    ...tooLarge(windows.slice(until), '_entity', ENTITY_MIB + ENTITY_MIB_PER_HELD_WINDOW * held),
  ]
}

function tooLarge(windows: readonly SoakWindow[], name: string, mib: number): string[] {
  const bytes = Math.max(0, ...windows.map(({ tables }) => tables[name]?.total ?? 0))
  return bytes > mib * 2 ** 20 ? [`${name} grew to ${(bytes / 2 ** 20).toFixed(0)} MiB; ${mib} is its bound`] : []
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}
