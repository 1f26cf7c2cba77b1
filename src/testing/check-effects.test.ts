import fc from 'fast-check'
import { expect, test } from 'vitest'
import { checkFinished, checkOnce, checkOrder, checkRepeats, checkSum, checkVersions, type Effect } from './check-effects.ts'

/** Effects of a run in which all went well: every command bumps the version of one key. */
const goodRun = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 4, maxLength: 60 }).map((keys): Effect[] => {
  const versions = new Map<string, number>()
  return keys.map((key, at) => {
    const version = (versions.get(key) ?? 0) + 1
    versions.set(key, version)
    return { commandId: `command-${at}`, key, version }
  })
})
const acknowledgedOf = (effects: readonly Effect[]): { commandId: string; client: string; key: string }[] =>
  effects.map(({ commandId, key }) => ({ commandId, client: 'one', key }))

test('a run in which all went well has no violation', () => {
  fc.assert(
    fc.property(goodRun, (effects) => {
      const ids = effects.map(({ commandId }) => commandId)
      const shuffled = effects.toReversed()
      expect([
        ...checkFinished({ accepted: ids.slice(1), unknown: ids.slice(0, 1), finished: ids }),
        ...checkOnce(shuffled),
        ...checkVersions(shuffled),
        ...checkOrder(acknowledgedOf(effects), shuffled),
      ]).toEqual([])
    }),
  )
})

test('one lost, doubled or invented command is found, wherever it is, and named', () => {
  fc.assert(
    fc.property(goodRun, fc.nat(), (effects, nat) => {
      const ids = effects.map(({ commandId }) => commandId)
      const at = nat % ids.length
      const chosen = ids[at] ?? ''
      expect(checkFinished({ accepted: ids, finished: ids.toSpliced(at, 1) })).toEqual([
        `command ${chosen} was accepted and never finished`,
      ])
      expect(checkFinished({ accepted: ids.toSpliced(at, 1), finished: ids })).toEqual([
        `command ${chosen} is finished, and nobody has sent it`,
      ])
      expect(checkFinished({ accepted: ids, finished: [...ids, chosen] })).toEqual([`command ${chosen} is finished more than once`])
      expect(checkOnce([...effects, ...effects.slice(at, at + 1)])).toEqual([
        `command ${chosen} took effect more than once on '${effects[at]?.key}'`,
      ])
    }),
  )
})

test('a version that is missing, or there twice, is found', () => {
  fc.assert(
    fc.property(goodRun, fc.nat(), (effects, nat) => {
      const at = nat % effects.length
      expect(checkVersions([...effects, ...effects.slice(at, at + 1)])).toHaveLength(1)
      // The oldest one of a key that goes on; without its newest a key has no gap, that is a lost command, which another checker sees.
      const next = { commandId: 'next', key: 'a', version: effects.filter(({ key }) => key === 'a').length + 1 }
      const first = [...effects, next].findIndex(({ key }) => key === 'a')
      expect(checkVersions([...effects, next, { ...next, version: next.version + 1 }].toSpliced(first, 1))).toHaveLength(1)
    }),
  )
})

test('two commands of a client that changed places are found; those of different clients may', () => {
  const effects = [
    { commandId: 'x', key: 'a', version: 2 },
    { commandId: 'y', key: 'a', version: 1 },
    { commandId: 'z', key: 'b', version: 1 },
  ]
  expect(checkOrder(acknowledgedOf(effects), effects)).toEqual(["command y (version 1 of 'a') was acknowledged after x (version 2)"])
  expect(
    checkOrder(
      acknowledgedOf(effects).map((each) => ({ ...each, client: each.commandId })),
      effects,
    ),
  ).toEqual([])
})

test('any two effects of one key that changed places are found, and named', () => {
  fc.assert(
    fc.property(goodRun, fc.nat(), fc.nat(), (effects, one, other) => {
      const own = effects.filter(({ key }) => key === effects[0]?.key)
      fc.pre(own.length > 1)
      const early = one % (own.length - 1)
      const late = early + 1 + (other % (own.length - 1 - early))
      const [before, after] = [own[early], own[late]]
      const swapped = effects.map((effect) => {
        if (effect === before) return { ...effect, version: after?.version ?? 0 }
        return effect === after ? { ...effect, version: before?.version ?? 0 } : effect
      })
      expect(checkVersions(swapped)).toEqual([])
      expect(checkOrder(acknowledgedOf(effects), swapped).join()).toContain(`${before?.commandId} (version ${after?.version})`)
    }),
  )
})

test('money that moves stays, and one cent that does not is found', () => {
  const moves = fc.array(fc.record({ from: fc.nat(4), to: fc.nat(4), cents: fc.integer({ min: 1, max: 50 }) }), { maxLength: 40 })
  fc.assert(
    fc.property(moves, fc.nat(4), fc.constantFrom(1, -1), (all, at, cent) => {
      const wallets = [100, 100, 100, 100, 100]
      for (const { from, to, cents } of all) {
        if ((wallets[from] ?? 0) < cents) continue
        wallets[from] = (wallets[from] ?? 0) - cents
        wallets[to] = (wallets[to] ?? 0) + cents
      }
      expect(checkSum(Object.fromEntries(wallets.entries()), 500)).toEqual([])
      wallets[at] = (wallets[at] ?? 0) + cent
      expect(checkSum(Object.fromEntries(wallets.entries()), 500)[0]).toBe(`all amounts add up to ${500 + cent}, not to 500`)
    }),
  )
})

test('money that appears, vanishes or is owed is found', () => {
  expect(checkSum({ a: 5, b: 5 }, 10)).toEqual([])
  expect(checkSum({ a: 5, b: 6 }, 10)).toEqual(['all amounts add up to 11, not to 10'])
  expect(checkSum({ a: -1, b: 11 }, 10)).toEqual(["'a' is -1, below zero"])
})

test('two answers to one Idempotency-Key are found; one answer told twice is fine', () => {
  const told = (idempotencyKey: string, answer: unknown): { idempotencyKey: string; answer: unknown } => ({ idempotencyKey, answer })
  expect(checkRepeats([told('k', { status: 200 }), told('l', { status: 409 }), told('k', { status: 200 })])).toEqual([])
  expect(checkRepeats([told('k', { status: 200 }), told('k', { status: 202 })])).toEqual([
    `Idempotency-Key 'k' was answered {"status":200}, and then {"status":202}`,
  ])
})

test('of any answers, those to one Idempotency-Key that differ are found, and no others', () => {
  const answers = fc.array(fc.record({ idempotencyKey: fc.constantFrom('k', 'l', 'm'), status: fc.constantFrom(200, 202) }), {
    maxLength: 20,
  })
  fc.assert(
    fc.property(answers, (all) => {
      const told = all.map(({ idempotencyKey, status }) => ({ idempotencyKey, answer: { status } }))
      const differ = ['k', 'l', 'm'].filter(
        (key) => new Set(all.filter(({ idempotencyKey }) => idempotencyKey === key).map(({ status }) => status)).size > 1,
      )
      const found = checkRepeats(told).map((fault) => /^Idempotency-Key '(?<key>.)'/.exec(fault)?.groups?.['key'])
      expect(new Set(found)).toEqual(new Set(differ))
    }),
  )
})

test('a thousand violations are not printed', () => {
  const accepted = Array.from({ length: 1000 }, (_, at) => String(at))
  const faults = checkFinished({ accepted, finished: [] })
  expect([faults.length, faults.at(-1)]).toEqual([21, 'and 980 more'])
})
