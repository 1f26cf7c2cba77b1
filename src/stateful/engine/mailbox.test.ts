import { expect, test } from 'vitest'
import { Mailbox } from './mailbox.ts'
import type { Work } from './work.ts'

const work = (id: string, input = '{}'): Work => ({
  envelope: { id, service: 's', command: 'c', keys: ['k'], input },
  partition: 0,
  origin: { from: 'direct', settle: () => undefined },
})

test('it keeps the order of arrival and is bounded', () => {
  const mailbox = new Mailbox(2)
  expect([mailbox.add(work('1')), mailbox.add(work('2')), mailbox.add(work('3'))]).toEqual([true, true, false])
  expect(mailbox.take(10).map((each) => each.envelope.id)).toEqual(['1', '2'])
  expect([mailbox.take(10), mailbox.add(work('3'))]).toEqual([[], true])
})

test('its commands are bounded together by their size too, whichever way they leave', () => {
  const mailbox = new Mailbox(100, 10)
  const half = (id: string): Work => work(id, '"abc"')
  const [first, second] = [half('1'), half('2')]
  const isFull = (): boolean => !mailbox.add(work('more', '1'))
  expect([mailbox.add(first), mailbox.add(second), isFull()]).toEqual([true, true, true])
  mailbox.remove(second)
  expect([mailbox.add(second), isFull()]).toEqual([true, true])
  expect(mailbox.take(1)).toEqual([first])
  expect([mailbox.add(half('3')), isFull()]).toEqual([true, true])
  mailbox.putBack([first])
  expect(mailbox.take(1)).toEqual([first])
  expect(isFull()).toBe(true)
  mailbox.take(10)
  expect([mailbox.add(first), mailbox.add(second), isFull()]).toEqual([true, true, true])
})

test('what comes back goes before what has arrived since', () => {
  const mailbox = new Mailbox(2)
  mailbox.add(work('1'))
  const taken = mailbox.take(10)
  mailbox.add(work('2'))
  mailbox.putBack(taken)
  expect(mailbox.take(10).map((each) => each.envelope.id)).toEqual(['1', '2'])
})

test('a caller may leave until its command has been taken', () => {
  const mailbox = new Mailbox(10)
  const [first, twin] = [work('1'), work('1')]
  mailbox.add(first)
  mailbox.add(twin)
  expect(mailbox.remove(first)).toBe(first)
  expect(mailbox.remove(first)).toBeUndefined()
  expect(mailbox.take(10)).toEqual([twin])
  expect(mailbox.remove(twin)).toBeUndefined()
})

test('a caller may leave while its command, which was taken before, is back and more is known of it', () => {
  const mailbox = new Mailbox(10)
  const first = work('1')
  const known: Work = { ...first, mayHaveRun: true }
  mailbox.putBack([known])
  expect([mailbox.remove(first), mailbox.size]).toEqual([known, 0])
})
