import fc from 'fast-check'
import { expect, test } from 'vitest'
import { History, operationsOf, type HistoryEntry, type Operation } from './history.ts'
import { checkLinearizable, type Model } from './linearizable.ts'

/** A register with compare-and-set, as a version with If-Match is one. */
const register: Model<number> = {
  initial: 0,
  apply(state, { f, input }) {
    if (f === 'read') return { state, output: state }
    const { from, to } = input as { from: number; to: number }
    return from === state ? { state: to, output: true } : { state, output: false }
  },
}

const operation = (given: Partial<Operation>): Operation => ({
  process: 1,
  f: 'read',
  key: 'x',
  input: undefined,
  output: undefined,
  outcome: 'ok',
  invokedAt: 0,
  endedAt: 1,
  ...given,
})

/** What clients see of a register that does everything at one moment between call and answer; some never hear of it. */
const goodHistory = fc
  .array(fc.record({ process: fc.nat(5), isRead: fc.boolean(), from: fc.nat(4), before: fc.nat(9), after: fc.nat(9), lost: fc.nat(9) }), {
    minLength: 1,
    maxLength: 40,
  })
  .map((steps): Operation[] => {
    let state = 0
    const free = new Map<number, number>()
    return steps.map(({ process, isRead, from, before, after, lost }, at) => {
      const moment = at * 10
      const f = isRead ? 'read' : 'cas'
      const input = isRead ? undefined : { from, to: at + 1 }
      const applied = register.apply(state, { f, input })
      state = applied.state
      const invokedAt = Math.max(moment - before, (free.get(process) ?? -1) + 0.5)
      const endedAt = moment + after / 10
      free.set(process, endedAt)
      const known = lost > 0
      return operation({
        process,
        f,
        input,
        invokedAt,
        endedAt: known ? endedAt : Infinity,
        outcome: known ? 'ok' : 'info',
        output: applied.output,
      })
    })
  })

test('a history of a register is explained, also where answers were lost', () => {
  fc.assert(
    fc.property(goodHistory, (operations) => {
      expect(checkLinearizable(operations, register)).toEqual([])
    }),
  )
})

test('one answer that nobody can explain is found', () => {
  fc.assert(
    fc.property(goodHistory, fc.nat(), (operations, nat) => {
      const impossible = operation({ invokedAt: nat % 400, endedAt: (nat % 400) + 1, output: 99 })
      expect(checkLinearizable([...operations, impossible], register)).toHaveLength(1)
    }),
  )
})

test('a stale read after an answer is found; beside the write it is fine', () => {
  const write = operation({ f: 'cas', input: { from: 0, to: 1 }, output: true, invokedAt: 0, endedAt: 10 })
  expect(checkLinearizable([write, operation({ output: 0, invokedAt: 5, endedAt: 15 })], register)).toEqual([])
  expect(checkLinearizable([write, operation({ output: 0, invokedAt: 11, endedAt: 15 })], register)).toEqual([
    `no order explains the 2 operations on 'x': 1: cas({"from":0,"to":1}) → true, 1: read(undefined) → 0`,
  ])
})

test('two who both won a compare-and-set are found', () => {
  const win = operation({ f: 'cas', input: { from: 0, to: 1 }, output: true, endedAt: 10 })
  expect(checkLinearizable([win, { ...win, process: 2, input: { from: 0, to: 2 } }], register)).toHaveLength(1)
})

/** By the definition: whether some order of these, each between its call and its answer, explains all answers. Those without an answer may be left out. */
function hasOrder(operations: readonly Operation[], state = register.initial): boolean {
  if (operations.every(({ outcome }) => outcome === 'info')) return true
  return operations.some((next) => {
    const others = operations.filter((each) => each !== next)
    // Nothing may have ended before it began: that would come first.
    if (others.some(({ endedAt }) => endedAt < next.invokedAt)) return false
    const after = register.apply(state, next)
    return (next.outcome === 'info' || after.output === next.output) && hasOrder(others, after.state)
  })
}

/** Whatever up to six operations of up to three clients might look like, right or wrong. */
const anyHistory = fc
  .array(
    fc.record({
      process: fc.nat(2),
      pauseMs: fc.nat(3),
      tookMs: fc.integer({ min: 1, max: 6 }),
      isKnown: fc.boolean(),
      what: fc.oneof(
        fc.record({ f: fc.constant('read'), input: fc.constant(undefined), output: fc.nat(2) }),
        fc.record({ f: fc.constant('cas'), input: fc.record({ from: fc.nat(2), to: fc.nat(2) }), output: fc.boolean() }),
      ),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((steps): Operation[] => {
    const free = new Map<number, number>()
    return steps.map(({ process, pauseMs, tookMs, isKnown, what }) => {
      const invokedAt = (free.get(process) ?? 0) + pauseMs
      const endedAt = invokedAt + tookMs
      free.set(process, endedAt + 0.5)
      return operation({
        process,
        ...what,
        invokedAt,
        ...(isKnown ? { endedAt } : { endedAt: Infinity, outcome: 'info', output: undefined }),
      })
    })
  })

test('of any history the search says what the definition says', () => {
  const seen = { good: 0, bad: 0 }
  fc.assert(
    fc.property(anyHistory, (operations) => {
      const good = hasOrder(operations)
      seen[good ? 'good' : 'bad'] += 1
      expect(checkLinearizable(operations, register)).toHaveLength(good ? 0 : 1)
    }),
    { numRuns: 2000 },
  )
  expect(Math.min(seen.good, seen.bad), 'both kinds were among them').toBeGreaterThan(100)
})

test('what failed has not happened, and keys are judged one by one', () => {
  const write = operation({ f: 'cas', input: { from: 0, to: 1 }, output: true, endedAt: 10 })
  const read = operation({ process: 2, output: 1, invokedAt: 11, endedAt: 15 })
  expect(checkLinearizable([write, read], register)).toEqual([])
  expect(checkLinearizable([{ ...write, outcome: 'fail' }, read], register)).toHaveLength(1)
  expect(checkLinearizable([{ ...write, key: 'y' }, read], register)).toEqual([
    `no order explains the 1 operations on 'x': 2: read(undefined) → 1`,
  ])
})

test('a search that grows too large is no success', () => {
  const many = Array.from({ length: 12 }, (_, process) =>
    operation({ process, f: 'cas', input: { from: process % 3, to: process }, output: false }),
  )
  expect(checkLinearizable([...many, operation({ output: 77 })], register, 100)[0]).toContain('gave up after 100 states')
})

test('a history is paired: answers, failures, and what never ended', async () => {
  const history = new History()
  expect(await history.record({ process: 1, f: 'read', key: 'x' }, () => Promise.resolve(5))).toBe(5)
  const broken = new Error('broken')
  await history.record({ process: 1, f: 'cas', key: 'x', value: 1 }, () => Promise.reject(broken))
  await history.record(
    { process: 2, f: 'cas', key: 'x', value: 2 },
    () => Promise.reject(broken),
    (error) => error === broken,
  )
  void history.record({ process: 3, f: 'cas', key: 'x', value: 3 }, () => new Promise(() => undefined))
  expect(operationsOf(history.entries).map(({ process, outcome, output, input }) => [process, outcome, output ?? input])).toEqual([
    [1, 'ok', 5],
    [1, 'info', 1],
    [2, 'fail', 2],
    [3, 'info', 3],
  ])
  expect(history.toLines().split('\n')).toHaveLength(7)
  const [first] = history.entries
  expect(() => operationsOf(first === undefined ? [] : [first, first])).toThrow('process 1 begins read before its read has ended')
  expect(() => operationsOf(history.entries.slice(1, 2))).toThrow('process 1 ends read, which it has not begun')
})

test('a history that was written down is read again as it was', async () => {
  const history = new History()
  await history.record({ process: 1, f: 'cas', key: 'x', value: { from: 0, to: 1 } }, () => Promise.resolve(true))
  void history.record({ process: 2, f: 'read', key: 'x' }, () => new Promise(() => undefined))
  const lines = history.toLines().split('\n')
  expect(operationsOf(lines.map((line) => JSON.parse(line) as HistoryEntry))).toEqual(operationsOf(history.entries))
})
