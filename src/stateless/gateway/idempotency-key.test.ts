import { expect, test } from 'vitest'
import { canonicalJson } from './canonical-json.ts'
import { claimOf, idempotencyKeyOf } from './idempotency-key.ts'

test.each([
  ['"abc"', 'abc'],
  ['abc', 'abc'],
  ['  "a\\"b\\\\c"  ', 'a"b\\c'],
  ['"abc";v=1', 'abc'],
  ['8e03978e-40d5-43dd-bc93-6894a57f9324', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
  ['x'.repeat(255), 'x'.repeat(255)],
])('%s is a key', (header, key) => {
  expect(idempotencyKeyOf(header)).toBe(key)
})

test.each(['', '""', '"abc', 'a b', '"a", "b"', 'é', 'x'.repeat(256), `"${'x'.repeat(256)}"`, '"a b"', 'tab\tbed'])(
  '%j is no key',
  (header) => {
    expect(() => idempotencyKeyOf(header)).toThrow(expect.objectContaining({ code: 'INVALID_IDEMPOTENCY_KEY' }))
  },
)

test('no header is no key', () => {
  expect(idempotencyKeyOf(undefined)).toBeUndefined()
})

const scope = { tenant: undefined, subject: 'ada', service: 'wallets', command: 'deposit' }
const request = {
  method: 'POST',
  url: '/wallets/a/deposits?x=1',
  body: canonicalJson({ b: [1, { d: 1, c: 2 }], a: 'x' }),
  ifMatch: undefined,
  ifNoneMatch: undefined,
}
const { hash, fingerprint } = claimOf('key', scope, request)

test('a claim is two SHA-256 in hexadecimal', () => {
  expect(hash).toMatch(/^[0-9a-f]{64}$/)
  expect(fingerprint).toMatch(/^[0-9a-f]{64}$/)
})

test('whoever asks for something else under the same key has another claim, however the parts are cut', () => {
  const others = [
    claimOf('key2', scope, request),
    claimOf('key', { ...scope, tenant: 'lovelace' }, request),
    claimOf('key', { ...scope, subject: undefined }, request),
    claimOf('key', { ...scope, subject: 'anonymous' }, request),
    claimOf('key', { ...scope, service: 'walletsd', command: 'eposit' }, request),
    claimOf('key', { ...scope, service: 'accounts' }, request),
    claimOf('key', { ...scope, command: 'transfer' }, request),
    claimOf('","key', { ...scope, command: 'dep' }, request),
  ]
  expect(new Set([hash, ...others.map((other) => other.hash)]).size).toBe(others.length + 1)
})

test('the fingerprint sees method, path, query, body and If-Match, and not the order of fields', () => {
  const same = claimOf('key', scope, { ...request, body: canonicalJson({ a: 'x', b: [1, { c: 2, d: 1 }] }) })
  expect(same.fingerprint).toBe(fingerprint)
  const others = [
    { ...request, method: 'PUT' },
    { ...request, url: '/wallets/a/deposits?x=2' },
    { ...request, body: canonicalJson({ a: 'y', b: [1, { d: 1, c: 2 }] }) },
    { ...request, body: canonicalJson({ a: 'x', b: [{ d: 1, c: 2 }, 1] }) },
    { ...request, ifMatch: '"1"' },
    { ...request, ifNoneMatch: '*' },
  ].map((other) => claimOf('key', scope, other).fingerprint)
  expect(new Set([fingerprint, ...others]).size).toBe(7)
})

test('canonical JSON says the same as JSON', () => {
  const value = { z: null, a: [true, 1.5, 'é"\n', {}, []], m: { y: 0, x: '' } }
  expect(JSON.parse(canonicalJson(value))).toEqual(value)
  expect(canonicalJson(value)).toBe('{"a":[true,1.5,"é\\"\\n",{},[]],"m":{"x":"","y":0},"z":null}')
})

const canonical = (text: string): string => canonicalJson(JSON.parse(text))

test.each([
  ['{"a":1,"b":2}', '{"b":2,"a":1}'],
  ['{"b":{"y":[],"x":{}}}', ' { "b" : { "x" : { } , "y" : [ ] } } '],
  ['[1, 100, 0.1]', '[1.0, 1e2, 1.0E-1]'],
  ['{"\\u00e9":"\\u0041"}', '{"é":"A"}'],
  ['{"a":1,"a":2}', '{"a":2}'],
  ['{"10":1,"9":2,"x":3}', '{"x":3,"9":2,"10":1}'],
])('%s is the same as %s', (one, other) => {
  expect(canonical(one)).toBe(canonical(other))
})

test('what JSON tells apart has different canonical forms', () => {
  const texts = [
    '[1]',
    '{"0":1}',
    '[1,null]',
    '["1"]',
    '[[1]]',
    '{"a":null}',
    '{}',
    '[]',
    '[2,1]',
    '[1,2]',
    '{"a":"1,\\"b\\":2"}',
    '{"a":"1","b":2}',
  ]
  const unicode = ['"\\u00e9"', '"e\\u0301"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\u0000"']
  const inherited = ['{"__proto__":{"a":1}}', '{"__proto__":{"a":2}}', '{"constructor":1}', '{"toJSON":1}', '{"length":1}']
  const all = [...texts, ...unicode, ...inherited]
  expect(new Set(all.map(canonical)).size).toBe(all.length)
})
