// docs/reference/cli.md and the program `twofold` say the same: every command, every option, every check.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { checkNames } from '../../src/cli/commands/doctor.ts'
import { twofoldProgram } from '../../src/cli/program.ts'

const page = await readFile('docs/reference/cli.md', 'utf8')
const terminal = { environment: {}, nodeVersion: '24.0.0', colours: false, write: () => undefined, exitCode: () => undefined }
const { commands } = twofoldProgram(terminal, '0.0.0')

/** The first cells of the tables in a command's section. */
function firstCells(command: string): string[] {
  const [, section = ''] = page.split(`## \`twofold ${command}\``)
  const [own = ''] = section.split('\n## ')
  return [...own.matchAll(/^\| `([^`]+)` *\|/gm)].flatMap(([, cell]) => cell ?? [])
}

test('every command of twofold has a section, and no other has one', () => {
  const sections = [...page.matchAll(/^## `twofold (\S+)`$/gm)].map(([, name]) => name)
  expect(sections).toEqual(commands.map((command) => command.name()))
})

test('the options of every command are those of its section, in the same order', () => {
  for (const command of commands) {
    const options = firstCells(command.name()).filter((cell) => cell.startsWith('--'))
    expect(options).toEqual(command.options.map(({ flags }) => flags))
  }
})

test('every check of doctor is explained, in the order in which they are made', () => {
  expect(firstCells('doctor').filter((cell) => !cell.startsWith('--'))).toEqual(checkNames)
})
