// What the verdict on a soak finds: each thing that may rot, alone.
import { expect, test } from 'vitest'
import { faultsOf, type SoakWindow } from '../../bench/soak/verdict.ts'

const size = (mib: number): SoakWindow['tables'][string] => ({ heap: 0, index: 0, toast: 0, total: mib * 2 ** 20 })

/** Twenty windows, in turns of both ways; a snapshot is held in the middle. `late` changes the last ones. */
function soak(late: Partial<SoakWindow> = {}, held: Partial<SoakWindow> = {}): SoakWindow[] {
  return Array.from({ length: 20 }, (_, at) => {
    const snapshotHeld = at === 10 || at === 11
    const window: SoakWindow = {
      way: at % 2 === 0 ? 'direct' : 'log',
      done: (at + 1) * 100_000,
      perSecond: 20_000,
      nodeCpuUs: 25,
      postgresCpuUs: snapshotHeld ? 80 : 25,
      othersShare: 0.1,
      snapshotHeld,
      tables: { _command: size(58), _entity: size(at < 10 ? 3.4 : 21) },
    }
    return { ...window, ...(snapshotHeld ? held : {}), ...(at >= 12 ? late : {}) }
  })
}

test('a soak that ends as it began has no fault', () => {
  expect(faultsOf(soak())).toEqual([])
})

test('a command that costs more at last is a fault, however fast it is', () => {
  expect(faultsOf(soak({ postgresCpuUs: 32 }))).toEqual([
    'direct: a command cost 50.0 µs of processor time at first and 57.0 µs at last',
    'log: a command cost 50.0 µs of processor time at first and 57.0 µs at last',
  ])
})

test('a rate that fell is a fault, unless others used more of the machine', () => {
  const slower = { perSecond: 15_000 }
  expect(faultsOf(soak(slower))).toEqual([
    'direct: 20000/s at first and 15000/s at last, with as much of the machine',
    'log: 20000/s at first and 15000/s at last, with as much of the machine',
  ])
  expect(faultsOf(soak({ ...slower, othersShare: 0.5 }))).toEqual([])
})

test('a held snapshot may make commands dearer up to a bound of its own', () => {
  expect(faultsOf(soak({}, { postgresCpuUs: 180 }))).toEqual([
    expect.stringContaining('direct: 205.0 µs of processor time under a held snapshot'),
    expect.stringContaining('log: 205.0 µs of processor time under a held snapshot'),
  ])
})

test('tables that grow beyond their saw-tooth are faults; entities may keep what a held snapshot left', () => {
  const held = (mib: number): SoakWindow[] => soak({ tables: { _entity: size(mib) } })
  expect(faultsOf(soak({ tables: { _command: size(120) } }))).toEqual(['_command grew to 120 MiB; 96 is its bound'])
  expect(faultsOf(held(30))).toEqual([])
  expect(faultsOf(held(40))).toEqual(['_entity grew to 40 MiB; 32 is its bound'])
  const never = soak().map((window): SoakWindow => ({ ...window, postgresCpuUs: 25, snapshotHeld: false }))
  expect(faultsOf(never)).toEqual(['_entity grew to 21 MiB; 8 is its bound'])
})
