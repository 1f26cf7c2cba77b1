// What a soak must show: the last commands are as cheap and as fast as the first, and what is emptied stays small.
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
  /** A reader held a snapshot meanwhile. */
  readonly snapshotHeld: boolean
  readonly tables: Readonly<Record<string, TableSize>>
}

/** Windows at each end whose median is compared: one alone is at the mercy of a checkpoint or a neighbour. */
const AT_EACH_END = 5

const TOLERANCE = 0.1

/** Empty of what is done with, these grow to the most that was ever alive in them, not with history. */
const BOUNDED = { _command: 512, _parked: 16, _attempt: 16, _partition: 4, _instance: 4 }

/** One sentence for everything that has become worse; none: nothing rots. */
export function faultsOf(windows: readonly SoakWindow[]): string[] {
  return [...(['direct', 'log'] as const).flatMap((way) => slower(windows, way)), ...larger(windows)]
}

function slower(windows: readonly SoakWindow[], way: Way): string[] {
  const own = windows.filter((window) => window.way === way)
  const ends = [own.slice(0, AT_EACH_END), own.slice(-AT_EACH_END)] as const
  const [first, last] = ends.map((end) => ({
    perSecond: median(end.map((window) => window.perSecond)),
    cpuUs: median(end.map(({ nodeCpuUs, postgresCpuUs }) => nodeCpuUs + postgresCpuUs)),
  })) as [Ends, Ends]
  const figures = `${way}: ${first.perSecond.toFixed(0)}/s and ${first.cpuUs.toFixed(1)} µs of processor time at first, ${last.perSecond.toFixed(0)}/s and ${last.cpuUs.toFixed(1)} µs at last`
  return last.perSecond < first.perSecond * (1 - TOLERANCE) && last.cpuUs > first.cpuUs * (1 + TOLERANCE) ? [figures] : []
}

interface Ends {
  readonly perSecond: number
  readonly cpuUs: number
}

function larger(windows: readonly SoakWindow[]): string[] {
  return Object.entries(BOUNDED).flatMap(([name, mib]) => {
    const bytes = Math.max(...windows.map(({ tables }) => tables[name]?.total ?? 0))
    return bytes > mib * 2 ** 20 ? [`${name} grew to ${(bytes / 2 ** 20).toFixed(0)} MiB; ${mib} is its bound`] : []
  })
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}
