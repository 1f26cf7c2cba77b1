#!/usr/bin/env node
// The program `twofold`. Exit code 0: done, and all is well; 1: something is at fault; 2: it was called in a way it does not understand.
import { readFile } from 'node:fs/promises'
import { CommanderError } from 'commander'
import { twofoldProgram } from './program.ts'

const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
let exitCode = 0
const terminal = {
  environment: process.env,
  nodeVersion: process.versions.node,
  colours: process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '',
  columns: process.stdout.isTTY ? process.stdout.columns : undefined,
  write: (text: string) => void process.stdout.write(text),
  exitCode: (code: number) => void (exitCode = code),
}
try {
  await twofoldProgram(terminal, version).parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  exitCode = error.exitCode === 0 ? 0 : 2
}
// A connection that fell silent would keep the process; what was written to a pipe has to get out first.
process.stdout.write('', () => process.exit(exitCode))
