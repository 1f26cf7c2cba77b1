// Who may run a handler beside whom.
import { expect, test } from 'vitest'
import { HandlerTurns } from './handler-turns.ts'

const ready = (...turns: readonly { readonly isReady: boolean }[]): boolean[] => turns.map(({ isReady }) => isReady)

test('handlers run beside each other; one that wants to be alone waits for them, and those who come later wait for it', async () => {
  const turns = new HandlerTurns()
  const [first, second, alone, later] = [turns.take(false), turns.take(false), turns.take(true), turns.take(false)]
  expect(ready(first, second, alone, later)).toEqual([true, true, false, false])
  second.end()
  expect(ready(alone, later)).toEqual([false, false])
  first.end()
  await alone.ready
  expect(ready(alone, later)).toEqual([true, false])
  alone.end()
  expect(ready(alone, later, turns.take(false))).toEqual([false, true, true])
})

test('two that want to be alone are so one after the other', () => {
  const turns = new HandlerTurns()
  const [first, second] = [turns.take(true), turns.take(true)]
  expect(ready(first, second)).toEqual([true, false])
  first.end()
  first.end()
  expect(ready(first, second)).toEqual([false, true])
})

test('whoever gives up before its turn lets others go on', () => {
  const turns = new HandlerTurns()
  const [running, alone, later] = [turns.take(false), turns.take(true), turns.take(false)]
  alone.end()
  expect(ready(running, alone, later)).toEqual([true, false, true])
  alone.end()
  running.end()
  const last = turns.take(true)
  expect(last.isReady).toBe(false)
  later.end()
  expect(last.isReady).toBe(true)
})
