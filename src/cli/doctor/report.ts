// What was found, for a person at a terminal or for a program.
import type { Check, Status } from './check.ts'
import { countOf } from './figures.ts'

const SIGNS: Readonly<Record<Status, string>> = { ok: '✓', warning: '!', fault: '✗' }

/** Green, yellow, red, as every terminal knows them. */
const COLOURS: Readonly<Record<Status, number>> = { ok: 32, warning: 33, fault: 31 }

export function isSound(checks: readonly Check[]): boolean {
  return checks.every(({ status }) => status !== 'fault')
}

/** One line a check, one more for an advice; the last one says what to do next. */
export function textReport(checks: readonly Check[], { colours }: { readonly colours: boolean }): string {
  const paint = (status: Status, text: string): string => (colours ? `\u001B[${COLOURS[status]}m${text}\u001B[0m` : text)
  const width = Math.max(...checks.map(({ name }) => name.length))
  const lines = checks.flatMap(({ name, status, found, advice }) => [
    `  ${paint(status, SIGNS[status])} ${name.padEnd(width)}  ${found}`,
    ...(advice === undefined ? [] : [`    ${' '.repeat(width)}  → ${advice}`]),
  ])
  return ['', ...lines, '', lastLine(checks, paint), ''].join('\n')
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
