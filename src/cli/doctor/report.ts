// What was found, for a person at a terminal or for a program.
import type { Check, Status } from './check.ts'
import { countOf } from './figures.ts'

const SIGNS: Readonly<Record<Status, string>> = { ok: '✓', warning: '!', fault: '✗' }

/** Green, yellow, red, as every terminal knows them. */
const COLOURS: Readonly<Record<Status, number>> = { ok: 32, warning: 33, fault: 31 }

export function isSound(checks: readonly Check[]): boolean {
  return checks.every(({ status }) => status !== 'fault')
}

/** What is narrower than this is not broken any further. */
const TEXT_WIDTH_MIN = 40

export interface ReportLook {
  readonly colours: boolean
  /** Lines are broken between words to fit. Default: they are not. */
  readonly columns?: number | undefined
}

/** A line for each check, and one for an advice; the last one says what to do next. */
export function textReport(checks: readonly Check[], { colours, columns }: ReportLook): string {
  const paint = (status: Status, text: string): string => (colours ? `\u001B[${COLOURS[status]}m${text}\u001B[0m` : text)
  const width = Math.max(...checks.map(({ name }) => name.length))
  const indent = ' '.repeat(width + 6)
  const room = columns === undefined ? Infinity : Math.max(TEXT_WIDTH_MIN, columns - indent.length)
  const lines = checks.flatMap(({ name, status, found, advice }) => {
    const [first, ...further] = brokenTo(room, found)
    const advised = advice === undefined ? [] : brokenTo(room - 2, advice)
    return [
      `  ${paint(status, SIGNS[status])} ${name.padEnd(width)}  ${first}`,
      ...further.map((line) => indent + line),
      ...advised.map((line, at) => `${indent}${at === 0 ? '→' : ' '} ${line}`),
    ]
  })
  return ['', ...lines, '', lastLine(checks, paint), ''].join('\n')
}

/** A word that is longer stays whole: it may be an address to copy. */
function brokenTo(room: number, text: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

function lastLine(checks: readonly Check[], paint: (status: Status, text: string) => string): string {
  const faults = checks.filter(({ status }) => status === 'fault')
  const warnings = checks.filter(({ status }) => status === 'warning').length
  const [first] = faults
  if (first !== undefined) {
    const rest = warnings === 0 ? '' : ` and ${countOf(warnings, 'warning')}`
    return `${paint('fault', `${countOf(faults.length, 'fault')}${rest}`)}: mend ${first.name} first, then run this again`
  }
  if (warnings > 0) return `${paint('warning', countOf(warnings, 'warning'))}, no fault: an app can run here; read what the ! lines advise`
  return `${paint('ok', 'all is well')}: start your app`
}

/** `{ ok, checks: [{ name, status, found, advice? }] }` */
export function jsonReport(checks: readonly Check[]): string {
  return `${JSON.stringify({ ok: isSound(checks), checks }, undefined, 2)}\n`
}
