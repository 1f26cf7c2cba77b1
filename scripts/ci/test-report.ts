// Reads vitest's JSON report for .ci/run.
// Usage: node scripts/ci/test-report.ts REPORT                  prints "PASSED FAILED", a file that could not be loaded counts as failed
//        node scripts/ci/test-report.ts REPORT --ran PATTERN    exit code 1 unless a test of a file that matches has run and all of them passed
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { parseArgs } from 'node:util'

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly assertionResults: readonly { readonly title: string; readonly status: string; readonly duration?: number }[]
  }[]
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { ran: { type: 'string' } } })
const [path] = positionals
if (path === undefined) throw new Error('the path of a report is missing: node scripts/ci/test-report.ts REPORT')
const report = JSON.parse(readFileSync(path, 'utf8')) as Report

if (values.ran === undefined) {
  const unloaded = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'),
  )
  process.stdout.write(`${report.numPassedTests} ${report.numFailedTests + unloaded.length}\n`)
} else {
  const pattern = new RegExp(values.ran)
  const tests = report.testResults
    .filter((file) => pattern.test(relative(process.cwd(), file.name)))
    .flatMap((file) => file.assertionResults)
  for (const { title, status, duration } of tests) process.stdout.write(`${status}: ${title} (${Math.round(duration ?? 0)} ms)\n`)
  if (tests.length === 0) process.stdout.write(`no test ran whose file matches ${values.ran}\n`)
  if (tests.length === 0 || tests.some((test) => test.status !== 'passed')) process.exitCode = 1
}
