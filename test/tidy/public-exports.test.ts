// Every public export is documented, also one that is only passed on.
import { expect, test } from 'vitest'
import { undocumentedExports } from './public-exports.ts'
import { readFixture, readRepository } from './source-program.ts'

test('every export of twofold, twofold/testing, twofold/kysely and twofold/kafka has a doc comment', () => {
  const repository = readRepository()
  expect(repository.exportsOf('src/index.ts').length).toBeGreaterThan(10)
  expect(repository.exportsOf('src/testing/index.ts')).not.toEqual([])
  expect(repository.exportsOf('src/kysely/index.ts')).not.toEqual([])
  expect(undocumentedExports(repository, ['src/index.ts', 'src/testing/index.ts', 'src/kysely/index.ts', 'src/kafka/index.ts'])).toEqual([])
})

test('an export without a doc comment is found through re-exports', () => {
  const fixture = readFixture({
    'src/index.ts': `export * from './one.ts'\nexport { two as second, three } from './two.ts'\nexport type { Four } from './two.ts'`,
    'src/one.ts': `/** Said. */\nexport const one = 1\n// Not a doc comment.\nexport function bare(): void {}`,
    'src/two.ts': `export const two = 2\n/** Said. */\nexport class three {}\nexport interface Four { readonly four: 4 }`,
  })
  expect(undocumentedExports(fixture, ['src/index.ts']).toSorted()).toEqual([
    "src/index.ts exports 'Four' (src/two.ts), which has no doc comment",
    "src/index.ts exports 'bare' (src/one.ts), which has no doc comment",
    "src/index.ts exports 'second' (src/two.ts), which has no doc comment",
  ])
})
