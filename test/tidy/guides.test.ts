// Code in a guide is a region of a file that is compiled with the examples: it cannot show what is no longer so.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'

const sources = await Promise.all(['payments.ts', 'testing.test.ts'].map((name) => readFile(`examples/guides/${name}`, 'utf8')))
const regions = [...sources.join('\n').matchAll(/^ *\/\/ region .*\n(?<code>[^]*?)^ *\/\/ endregion$/gm)].map(({ groups }) =>
  unindented(groups?.['code'] ?? ''),
)

function unindented(code: string): string {
  const indent = /^ */.exec(code)?.[0] ?? ''
  return code.replaceAll(new RegExp(`^${indent}`, 'gm'), '')
}

test.each(['idempotency', 'failing-commands', 'testing'])('the code of the guide %s is that of a compiled file', async (guide) => {
  const page = await readFile(`docs/guides/${guide}.md`, 'utf8')
  const blocks = [...page.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, code]) => code)
  expect(blocks.length).toBeGreaterThan(0)
  for (const block of blocks) expect(regions).toContain(block)
})
