// The figures of a run for a person.
import type { ScenarioFigures } from './results.ts'

/** What ratios are shown against: what everybody writes by hand. */
const BASELINE = 'one-transaction-each'

export function printTable(scenarios: readonly ScenarioFigures[]): void {
  const rows = scenarios.map(({ name, perSecond, p50Ms, p99Ms, nodeCpuUs, postgresCpuUs, ratioTo, lacks }) => [
    name,
    perSecond === undefined ? '' : Math.round(perSecond).toLocaleString('en'),
    p50Ms === undefined ? '' : p50Ms.toFixed(2),
    p99Ms === undefined ? '' : p99Ms.toFixed(2),
    nodeCpuUs === undefined ? '' : nodeCpuUs.toFixed(1),
    postgresCpuUs === undefined ? '' : postgresCpuUs.toFixed(1),
    ratioTo?.[BASELINE] === undefined ? '' : `${ratioTo[BASELINE].toFixed(1)}×`,
    lacks ?? '',
  ])
  const head = ['scenario', 'per second', 'p50 ms', 'p99 ms', 'Node µs', 'PostgreSQL µs', `to ${BASELINE}`, 'without']
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column === 0 || column === head.length - 1 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
  process.stdout.write(`\n${[head, ...rows].map((row) => line(row).trimEnd()).join('\n')}\n`)
}
