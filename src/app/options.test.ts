import { expect, test } from 'vitest'
import { optionsFromEnvironment, resolveOptions } from './options.ts'

test('crash points are armed by the environment; what cannot be armed stops the start with a sentence', () => {
  const options = optionsFromEnvironment({ TWOFOLD_CRASH: 'engine.commit:3:kill' })
  expect(resolveOptions(options).crash).toEqual([{ point: 'engine.commit', pass: 3, action: 'kill' }])
  expect(resolveOptions(optionsFromEnvironment({ TWOFOLD_CRASH: '' })).crash).toEqual([])
  expect(() => optionsFromEnvironment({ TWOFOLD_CRASH: 'engine.commit' })).toThrow("TWOFOLD_CRASH: 'engine.commit' is not name:n:action")
  expect(() => resolveOptions({ crash: 'nowhere:1:kill' })).toThrow("crash: 'nowhere' is no crash point")
})
