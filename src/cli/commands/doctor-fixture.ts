// `twofold doctor` within a test: what it printed, and what a program would have ended with.
import { twofoldProgram } from '../program.ts'
import type { Check } from '../doctor/check.ts'

export interface Examined {
  readonly exitCode: number | undefined
  readonly output: string
  /** Of `--json`. */
  readonly checks: readonly Check[]
  /** The check of that name; an empty one where there is none. */
  readonly check: (name: string) => Partial<Check>
}

export async function doctor(
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  colours = false,
): Promise<Examined> {
  let output = ''
  let exitCode: number | undefined
  const terminal = {
    environment,
    nodeVersion: process.versions.node,
    colours,
    write: (text: string) => void (output += text),
    exitCode: (code: number) => void (exitCode = code),
  }
  await twofoldProgram(terminal, '1.2.3').parseAsync(['doctor', ...words], { from: 'user' })
  const checks = words.includes('--json') ? (JSON.parse(output) as { checks: Check[] }).checks : []
  return { exitCode, output, checks, check: (name) => checks.find((each) => each.name === name) ?? {} }
}
