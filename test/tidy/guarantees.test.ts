// A guarantee, and a rule of the engine, names the tests that hold it; a test that was renamed or removed would leave an empty promise.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'

interface Row {
  readonly says: string
  readonly tests: readonly { readonly file: string; readonly claim: string }[]
}

/** The rows of a page's tables whose last cell names tests: `file`: claim · `file`: claim. */
async function rowsOf(page: string): Promise<Row[]> {
  const [promised = ''] = (await readFile(`docs/concepts/${page}`, 'utf8')).split('## Not promised')
  const lines = promised.split('\n').filter((line) => line.startsWith('| ') && !line.endsWith('| held by |'))
  return lines.map((line) => {
    const cells = line.slice(2, -2).split(' | ')
    const tests = (cells.at(-1) ?? '').split(' · ').map((named) => /^`(?<file>[^`]+\.test\.ts)`: (?<claim>.+)$/.exec(named)?.groups)
    return {
      says: cells.slice(0, -1).join(' '),
      tests: tests.map((each) => ({ file: each?.['file'] ?? '', claim: each?.['claim'] ?? '' })),
    }
  })
}

const promises = await rowsOf('guarantees.md')
const rules = await rowsOf('engine-rules.md')

test('there is a row for every rule, and no few promises', () => {
  expect(promises.length).toBeGreaterThan(15)
  expect(rules.map(({ says }) => Number.parseInt(says, 10))).toEqual(Array.from({ length: 25 }, (_, at) => at + 1))
})

/** Where a test begins whose name is this, or begins with it, and which is not left out. */
function testNamed(claim: string, end: string): RegExp {
  return new RegExp(`(?<!\\b(?:skip|todo|fails))\\(\\s*'${claim.replaceAll(/[^\w\s]/g, '\\$&')}${end}`)
}

test.each(promises)('there is a test of that very name for: $says', async ({ tests }) => {
  for (const { file, claim } of tests) {
    expect(file, 'the last cell names a test file').not.toBe('')
    expect(await readFile(file, 'utf8')).toMatch(testNamed(claim, "'"))
  }
})

test.each(rules)('there is a test for: $says', async ({ tests }) => {
  for (const { file, claim } of tests) {
    expect(file, 'the last cell names a test file').not.toBe('')
    expect(await readFile(file, 'utf8')).toMatch(testNamed(claim, ''))
  }
})

test('a test that is left out, and a text that is no name, hold nothing', () => {
  const named = (text: string): boolean => testNamed('it holds', "'").test(text)
  expect(["test('it holds', () => {", "test.each([1])(\n  'it holds', () => {", "test('it holds here', () => {"].map(named)).toEqual([
    true,
    true,
    false,
  ])
  expect(['skip', 'todo', 'fails'].map((how) => named(`test.${how}('it holds', () => {`))).toEqual([false, false, false])
  expect(named("const says = 'it holds'")).toBe(false)
})
