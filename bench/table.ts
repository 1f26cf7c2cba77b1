// The figures of a run for a person: Markdown, so that a table can be pasted as it is.
import type { ResultFile, ScenarioFigures } from './results.ts'

/** What ratios are shown against: what everybody writes by hand, the ceiling, and HTTP with nothing behind it. */
const SHOWN = ['one-transaction-each', 'batch-sql-ceiling', 'fastify-bare']

/** What is set against the peers: the effect of a command, by each of its ways in. */
const AGAINST_PEERS = ['engine-direct', 'engine-log', 'engine-rabbitmq', 'http-accept', 'http-sync-128']

export function resultTable({ scenarios, failures }: Pick<ResultFile, 'scenarios' | 'failures'>): string {
  const rows = scenarios.map((one) => [
    one.name,
    count(one.perSecond),
    ms(one.p50Ms),
    ms(one.p99Ms),
    microseconds(one.nodeCpuUs),
    microseconds(one.postgresCpuUs),
    ...SHOWN.map((baseline) => ratio(one.ratioTo?.[baseline])),
    Object.entries(one.figures ?? {})
      .map(([name, value]) => `${name} ${value.toLocaleString('en')}`)
      .join(', '),
    one.lacks ?? '',
  ])
  const failed = failures.map(({ name, reason }) => [
    name,
    'failed',
    '',
    '',
    '',
    '',
    ...SHOWN.map(() => ''),
    '',
    reason.split('\n')[0] ?? '',
  ])
  const head = [
    'scenario',
    'per second',
    'p50 ms',
    'p99 ms',
    'Node µs',
    'PostgreSQL µs',
    ...SHOWN.map((baseline) => `to ${baseline}`),
    'further',
    'without',
  ]
  return table(head, [...rows, ...failed], 6 + SHOWN.length)
}

/** How many times as fast as each peer, in the same run; undefined where none was measured. */
export function peerTable(scenarios: readonly ScenarioFigures[]): string | undefined {
  const ours = AGAINST_PEERS.flatMap((name) => scenarios.find((one) => one.name === name) ?? [])
  const peers = scenarios.map(({ name }) => name).filter((name) => name.startsWith('peer-'))
  if (peers.length === 0 || ours.length === 0) return undefined
  const rows = peers.map((peer) => [peer, ...ours.map(({ ratioTo }) => ratio(ratioTo?.[peer]))])
  return table(['times as fast as', ...ours.map(({ name }) => name)], rows, Infinity)
}

/** What has changed since `before`: above 1 is more a second, or a longer time. Scenarios that only one of them has are left out. */
export function comparison(now: readonly ScenarioFigures[], before: readonly ScenarioFigures[]): string {
  const rows = now.flatMap((one) => {
    const old = before.find(({ name }) => name === one.name)
    if (old === undefined) return []
    const change = (name: 'perSecond' | 'p50Ms' | 'p99Ms'): string => ratio((one[name] ?? Number.NaN) / (old[name] ?? Number.NaN), 2)
    return [[one.name, count(old.perSecond), count(one.perSecond), change('perSecond'), change('p50Ms'), change('p99Ms')]]
  })
  return table(['scenario', 'per second before', 'now', 'ratio', 'p50 ratio', 'p99 ratio'], rows, Infinity)
}

function count(value: number | undefined): string {
  return value === undefined ? '' : Math.round(value).toLocaleString('en')
}

function ms(value: number | undefined): string {
  return value === undefined ? '' : value.toFixed(2)
}

function microseconds(value: number | undefined): string {
  return value === undefined ? '' : value.toFixed(1)
}

function ratio(value: number | undefined, digits = value !== undefined && value < 1 ? 2 : 1): string {
  return value === undefined || Number.isNaN(value) ? '' : `${value.toFixed(digits)}×`
}

/** The first column and those from `textFrom` on are texts, the ones between are numbers. A last row of nothing but texts stays short. */
function table(head: readonly string[], rows: readonly (readonly string[])[], textFrom: number): string {
  const used = head.map((_, column) => rows.some((row) => row[column] !== ''))
  const shown = (row: readonly string[]): string[] => row.filter((_, column) => used[column])
  const isNumber = shown(head.map((_, column) => (column > 0 && column < textFrom ? 'number' : 'text'))).map((kind) => kind === 'number')
  const lines = [head, ...rows].map(shown)
  const widths = (lines[0] ?? []).map((_, column) => Math.max(4, ...lines.map((row) => row[column]?.length ?? 0)))
  const pad = (cell: string, column: number): string =>
    isNumber[column] === true ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)
  const [title = '', ...body] = lines.map((row) => `| ${row.map(pad).join(' | ')} |`)
  const rule = `| ${widths.map((width, column) => (isNumber[column] === true ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width))).join(' | ')} |`
  return [title, rule, ...body].join('\n')
}
