import { expect, test } from 'vitest'
import { entity, upgradeState } from './entity.ts'

const declared = entity(
  { name: 'wallets' },
  {
    initial: () => ({ c: 0 }),
    upgrades: [(old: { a: number }) => ({ b: old.a + 1 }), (old: { b: number }) => ({ c: old.b * 10 })],
  },
)

test('a state is lifted from the shape it has, step by step', () => {
  expect(upgradeState(declared, 1, { a: 1 })).toEqual({ c: 20 })
  expect(upgradeState(declared, 2, { b: 1 })).toEqual({ c: 10 })
  expect(upgradeState(declared, 3, { c: 1 })).toEqual({ c: 1 })
})

test('a state of a newer program is left as it is', () => {
  expect(upgradeState(declared, 7, { z: 1 })).toEqual({ z: 1 })
})
