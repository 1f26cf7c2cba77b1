// How much of the machine others used meanwhile: a rate that fell says nothing where they used more than before.
import { cpus } from 'node:os'

/** Processor time of all cores since the machine started, in microseconds. */
export interface MachineCpu {
  readonly busyUs: number
  readonly allUs: number
}

export function machineCpu(): MachineCpu {
  const times = cpus().map((core) => core.times)
  const sum = (of: readonly number[]): number => of.reduce((total, ms) => total + ms * 1000, 0)
  const allUs = sum(times.flatMap(({ user, nice, sys, idle, irq }) => [user, nice, sys, idle, irq]))
  return { allUs, busyUs: allUs - sum(times.map(({ idle }) => idle)) }
}

/** The share of all cores, from 0 to 1, that was busy between two looks and not with `ownUs` of our own. */
export function shareOfOthers(before: MachineCpu, after: MachineCpu, ownUs: number): number {
  return Math.max(0, after.busyUs - before.busyUs - ownUs) / Math.max(1, after.allUs - before.allUs)
}
