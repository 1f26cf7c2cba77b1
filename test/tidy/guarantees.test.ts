// A guarantee names the test that holds it; a test that was renamed or removed would leave an empty promise.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'

const page = await readFile('docs/concepts/guarantees.md', 'utf8')
const promises = [...page.matchAll(/^\| (?<promise>[^|]+) \| `(?<file>[^`]+\.test\.ts)`: (?<claim>.+) \|$/gm)].map(
  ({ groups }) => groups ?? {},
)

test('every row of the promises names a test', () => {
  const rows =
    page
      .split('## Not promised')[0]
      ?.split('\n')
      .filter((line) => line.startsWith('| ')) ?? []
  expect(promises.length).toBeGreaterThan(15)
  // All but the head.
  expect(promises).toHaveLength(rows.length - 1)
})

test.each(promises)('there is a test for: $promise', async ({ file = '', claim = '' }) => {
  expect(await readFile(file, 'utf8')).toContain(`'${claim}`)
})
