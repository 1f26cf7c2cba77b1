// File sizes: reported at every run, refused where a file should have been split.
import { expect, test } from 'vitest'
import { readFixture, readRepository } from './source-program.ts'
import { fileLinesMax, sizesOf, sizeTable } from './sizes.ts'

test(`no file of src is longer than ${fileLinesMax} lines`, () => {
  const sizes = sizesOf(readRepository().files)
  process.stdout.write(`\n${sizeTable(sizes)}\n`)
  expect(sizes.files).toBeGreaterThan(20)
  expect(sizes.tooLong).toEqual([])
})

test('long files and long functions are found, tests are not counted', () => {
  const sizes = sizesOf(
    readFixture({
      'src/long.ts': 'export const x = 1\n'.repeat(401),
      'src/noted.ts': 'export const x = 1\n'.repeat(301),
      'src/big.ts': `export function big(): void {\n${'  void 0\n'.repeat(69)}}\nexport class C {\n  small(): void {\n    void 0\n  }\n}\n`,
      'src/long.test.ts': 'export const x = 1\n'.repeat(500),
      'examples/long.ts': 'export const x = 1\n'.repeat(500),
    }).files,
  )
  expect(sizes).toEqual({
    files: 3,
    median: 301,
    p90: 401,
    largest: 'src/long.ts (401)',
    noted: ['src/long.ts (401)', 'src/noted.ts (301)'],
    tooLong: ['src/long.ts (401)'],
    longFunctions: ['src/big.ts:1 big (71)'],
  })
})
