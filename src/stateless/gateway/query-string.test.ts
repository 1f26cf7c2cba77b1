import { expect, test } from 'vitest'
import { queryStringOf } from './query-string.ts'

test('fields come in order, repeated ones as a list, escapes and plus signs decoded', () => {
  expect([...queryStringOf('/x?a=1&b=%C3%A9+%2B&a=2&a=3&flag&=&e=a=b')]).toEqual([
    ['a', ['1', '2', '3']],
    ['b', 'é +'],
    ['flag', ''],
    ['', ''],
    ['e', 'a=b'],
  ])
  expect(queryStringOf('/x').size).toBe(0)
})

test.each(['/x?a=%zz', '/x?a=%ff', '/x?%e9=1'])('a broken escape is refused: %s', (url) => {
  expect(() => queryStringOf(url)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }))
})
