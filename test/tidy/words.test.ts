// Nothing unfinished, switched off or bound to one machine is committed.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './source-program.ts'
import { wordsLeftBehind } from './words.ts'

const folders = ['src', 'examples', 'test', 'scripts', 'bench', '.ci', 'docs']

test('nothing unfinished, switched off or bound to one machine is left behind', () => {
  // The planted faults below are the one file that has to hold them.
  const paths = [...folders.flatMap(filesIn), 'README.md', 'CHANGELOG.md', 'package.json'].filter(
    (path) => !path.endsWith('tidy/words.test.ts'),
  )
  expect(paths.length).toBeGreaterThan(30)
  expect(paths.flatMap((path) => wordsLeftBehind(path, readFileSync(join(root, path), 'utf8')))).toEqual([])
})

test.each([
  ['unfinished work', '// TODO: later'],
  ['unfinished work', '/* FIXME */'],
  ['a type error hidden instead of mended', '// @ts-ignore'],
  ['a test that runs alone or not at all', "test.only('x', () => {})"],
  ['a test that runs alone or not at all', "describe.skip('x', () => {})"],
  ['a test that runs alone or not at all', "test.concurrent.skip('x', () => {})"],
  ['a path of one machine', "const folder = '/home/someone/twofold'"],
  ['a disable comment without a reason', '// oxlint-disable-next-line typescript/no-explicit-any'],
])('%s is found in: %s', (what, line) => {
  expect(wordsLeftBehind('src/x.ts', `const a = 1\n${line}\n`)).toEqual([`src/x.ts:2 has ${what}: ${line.trim()}`])
})

test.each([
  '// oxlint-disable-next-line typescript/no-explicit-any -- an inference position',
  'const { only, skip } = options',
  "fetch('http://127.0.0.1:3000/home/1')",
  "new URL('../home/orders.csv', import.meta.url)",
])('this is fine: %s', (line) => {
  expect(wordsLeftBehind('src/x.ts', line)).toEqual([])
})

function filesIn(folder: string): string[] {
  try {
    const found = readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    const texts = found.filter((entry) => entry.isFile() && /(?:\.(?:ts|sql|md|json|sh|yaml)|^run)$/.test(entry.name))
    const paths = texts.map((entry) => join(entry.parentPath.slice(root.length + 1), entry.name))
    // The peers of the benchmark have packages of their own, where they were measured.
    return paths.filter((path) => !path.includes('/node_modules/'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
