import { expect, test } from 'vitest'
import { entityTag, noneMatchNames } from './entity-tag.ts'

test.each([
  ['"3"', true],
  ['W/"3"', true],
  ['"1", W/"3", "4"', true],
  ['*', true],
  [' * ', true],
  ['"13"', false],
  ['3', false],
  ['"a,\\"3\\""', false],
  ['', false],
  [undefined, false],
])('If-None-Match %s names "3": %s', (header, names) => {
  expect(noneMatchNames(header, entityTag(3))).toBe(names)
})
