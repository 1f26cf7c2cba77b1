// The code of docs/guides/testing.md. A test looks whether the page shows it as it is.
import { expect, test } from 'vitest'
import { checkLinearizable, given, History, operationsOf, type Model } from 'twofold/testing'
import { paymentsStateful } from './payments.ts'

test('a payment takes what is there, and no more', () => {
  // region given
  const account = given(paymentsStateful, { a: { balanceCents: 10 } })
  const { outcome, states } = account.when.pay({ accountId: 'a', amountCents: 4 })
  expect(outcome).toMatchObject({ status: 'succeeded', reply: { balanceCents: 6 } })
  expect(states).toEqual({ a: { balanceCents: 6 } })
  // endregion
  expect(account.when.pay({ accountId: 'a', amountCents: 11 }).outcome).toMatchObject({ status: 'rejected', code: 'insufficientFunds' })
  expect(account.when.deposit({ accountId: 'a', amountCents: 5 }).states).toEqual({ a: { balanceCents: 15 } })
})

/** Compare-and-set: who names the current version leads to the next one, all others are told the current one. */
const register: Model<number> = {
  initial: 0,
  apply: (version, { input }) =>
    input === version ? { state: version + 1, output: { done: version + 1 } } : { state: version, output: { stale: version } },
}

test('a history is explained by one order, or it is not', async () => {
  let stored = 0
  const put = async (_: string, version: number): Promise<object> => {
    if (version !== stored) return { stale: stored }
    stored += 1
    return { done: stored }
  }
  const [key, version] = ['r', 0]
  // region history
  const history = new History()
  await history.record({ process: 1, f: 'put', key, value: version }, () => put(key, version))
  expect(checkLinearizable(operationsOf(history.entries), register)).toEqual([])
  // endregion
  await history.record({ process: 2, f: 'put', key, value: version }, async () => ({ done: 1 }))
  expect(checkLinearizable(operationsOf(history.entries), register)).not.toEqual([])
})
