// What the verdict on a soak finds: each thing that may rot, alone.
import { expect, test } from 'vitest'
import { AT_EACH_END, faultsOf, type SoakWindow } from '../../bench/soak/verdict.ts'

const size = (mib: number): SoakWindow['tables'][string] => ({ heap: 0, index: 0, toast: 0, total: mib * 2 ** 20 })

const EACH_SIDE = AT_EACH_END * 2
const KEPT = 100

/** Windows in turns of both ways; a snapshot is held in the middle, for two of them. `late` changes those after it. */
function soak(late: Partial<SoakWindow> = {}, held: Partial<SoakWindow> = {}): SoakWindow[] {
  return Array.from({ length: EACH_SIDE * 2 + 2 }, (_, at) => {
    const isHeld = at === EACH_SIDE || at === EACH_SIDE + 1
    const window: SoakWindow = {
      way: at % 2 === 0 ? 'direct' : 'log',
      done: (at + 1) * 100_000,
      perSecond: 20_000,
      nodeCpuUs: 25,
      postgresCpuUs: isHeld ? 25 + KEPT * 0.8 : 25,
      reference: { nodeUs: 30_000, postgresUs: 40_000 },
      othersShare: 0.1,
      ...(isHeld ? { versionsHeld: KEPT } : {}),
      tables: { _command: size(40), _entity: size(at < EACH_SIDE ? 3.4 : 40) },
    }
    return { ...window, ...(isHeld ? held : {}), ...(at >= EACH_SIDE + 2 ? late : {}) }
  })
}

test('a soak that ends as it began has no fault', () => {
  expect(faultsOf(soak())).toEqual([])
})

test('a command that costs more at last is a fault, however fast it is', () => {
  expect(faultsOf(soak({ postgresCpuUs: 32 }))).toEqual([
    'direct: a command cost 50.0 µs of processor time at first and 57.0 µs at last, on processors of one speed',
    'log: a command cost 50.0 µs of processor time at first and 57.0 µs at last, on processors of one speed',
  ])
})

test('a command that costs more, and takes longer, on processors that are slower by as much is no fault', () => {
  const slow = { nodeCpuUs: 37.5, postgresCpuUs: 30, perSecond: 15_000, reference: { nodeUs: 45_000, postgresUs: 48_000 } }
  expect(faultsOf(soak(slow))).toEqual([])
})

test('faster processors do not hide that a command costs more', () => {
  const fast = { nodeCpuUs: 25, postgresCpuUs: 25, reference: { nodeUs: 25_000, postgresUs: 32_000 } }
  expect(faultsOf(soak(fast))).toEqual([
    expect.stringMatching(/^direct: .* at last, on processors of one speed$/),
    expect.stringContaining('direct: 20000/s at first and'),
    expect.stringMatching(/^log: .* at last, on processors of one speed$/),
    expect.stringContaining('log: 20000/s at first and'),
  ])
})

test('where the server is on another machine only Node is judged', () => {
  const reference = { nodeUs: 30_000 }
  const elsewhere = soak().map((window) => ({ ...window, postgresCpuUs: 0, reference }))
  expect(faultsOf(elsewhere)).toEqual([])
  expect(faultsOf(elsewhere.map((window, at) => (at < EACH_SIDE + 2 ? window : { ...window, nodeCpuUs: 30 })))).toHaveLength(2)
})

test('a rate that fell is a fault, unless others used more of the machine', () => {
  const slower = { perSecond: 15_000 }
  expect(faultsOf(soak(slower))).toEqual([
    'direct: 20000/s at first and 15000/s at last, with as much of the machine',
    'log: 20000/s at first and 15000/s at last, with as much of the machine',
  ])
  expect(faultsOf(soak({ ...slower, othersShare: 0.5 }))).toEqual([])
})

test('a held snapshot may make commands dearer, for each version that it keeps up to a bound of its own', () => {
  expect(faultsOf(soak({}, { postgresCpuUs: 225 }))).toEqual([
    'direct: 2.0 µs of processor time for each version that a held snapshot keeps; 1.5 is its bound',
    'log: 2.0 µs of processor time for each version that a held snapshot keeps; 1.5 is its bound',
  ])
})

test('tables that grow beyond their saw-tooth are faults; entities may keep what a held snapshot left', () => {
  const held = (mib: number): SoakWindow[] => soak({ tables: { _entity: size(mib) } })
  expect(faultsOf(soak({ tables: { _command: size(120) } }))).toEqual(['_command grew to 120 MiB; 58 is its bound'])
  expect(faultsOf(held(47))).toEqual([])
  expect(faultsOf(held(50))).toEqual(['_entity grew to 50 MiB; 48 is its bound'])
  const never = soak().flatMap(({ versionsHeld, ...window }) => (versionsHeld === undefined ? [window] : []))
  expect(faultsOf(never)).toEqual(['_entity grew to 40 MiB; 24 is its bound'])
})
