import { expect, test } from 'vitest'
import { preferencesOf } from './prefer.ts'

test.each([
  ['respond-async', true, undefined],
  ['Respond-Async, WAIT=10', true, 10],
  ['respond-async=""', true, undefined],
  ['wait="7"', false, 7],
  ['wait = 5 ; x=1; y="a,b", respond-async;z', true, 5],
  ['foo="a, respond-async, b", wait=3', false, 3],
  ['wait=3, wait=9', false, 3],
  ['respond-async=yes', false, undefined],
  ['wait=soon', false, undefined],
  ['wait=-1', false, undefined],
  ['wait=99999999999999999999', false, Number.MAX_SAFE_INTEGER],
  ['wait=, respond-async=', true, undefined],
  ['@@@, wait=4', false, 4],
  ['', false, undefined],
  ['return=minimal; "unclosed, wait=2', false, undefined],
])('%s', (header, respondAsync, wait) => {
  expect(preferencesOf(header)).toEqual({ respondAsync, wait })
})

test('several header lines are one list', () => {
  expect(preferencesOf(['respond-async', 'wait=2'])).toEqual({ respondAsync: true, wait: 2 })
  expect(preferencesOf(undefined)).toEqual({ respondAsync: false, wait: undefined })
})

test.each([`${'a="'.repeat(30_000)}${',"\\'.repeat(30_000)}`, `wait=${' '.repeat(90_000)}@`, `a${' '.repeat(90_000)}@`])(
  'hostile header %#',
  (header) => {
    const started = performance.now()
    preferencesOf(header)
    expect(performance.now() - started).toBeLessThan(500)
  },
)
