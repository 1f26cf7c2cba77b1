import { expect, test } from 'vitest'
import { given } from 'twofold/testing'
import { walletsStateful } from './stateful.ts'

const rich = { a: { balanceCents: 10 } }

test('a transfer moves money and says so', () => {
  const { outcome, states, events } = given(walletsStateful, rich).when.transfer({ from: 'a', to: 'b', amountCents: 4 })
  expect(outcome).toMatchObject({ status: 'succeeded', reply: { balanceCents: 6 } })
  expect(states).toEqual({ a: { balanceCents: 6 }, b: { balanceCents: 4 } })
  expect(events).toEqual([{ name: 'moneyMoved', data: { from: 'a', to: 'b', amountCents: 4 } }])
})

test('nobody spends what is not there', () => {
  const { outcome, states, events } = given(walletsStateful, rich).when.transfer({ from: 'a', to: 'b', amountCents: 11 })
  expect(outcome).toMatchObject({ status: 'rejected', code: 'insufficientFunds', data: { balanceCents: 10 } })
  expect([states, events]).toEqual([rich, []])
})

test('a wallet does not pay itself', () => {
  const { outcome } = given(walletsStateful, rich).when.transfer({ from: 'a', to: 'a', amountCents: 4 })
  expect(outcome).toMatchObject({ status: 'rejected', code: 'sameWallet' })
})

test('a deposit adds up', () => {
  const { outcome } = given(walletsStateful, rich).when.deposit({ walletId: 'a', amountCents: 5 })
  expect(outcome).toMatchObject({ reply: { balanceCents: 15 }, version: 2 })
})
