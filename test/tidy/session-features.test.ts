// Rule 19: what rings in a transaction waits for all others that do (NOTIFY takes one lock for all of them), and what is bound to a session
// is lost behind a pooler. Both stay where they are meant to be: a hand-over of partitions rings in its transaction, no command does.
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.(ts|sql)$/.test(name) && !name.endsWith('.test.ts'))
  .map((name) => ({ name: name.replaceAll('\\', '/'), text: withoutComments(readFileSync(`src/${name}`, 'utf8')) }))

function withoutComments(text: string): string {
  return text.replaceAll(/^\s*(?:\/\/|\/?\*|--).*$/gm, '')
}

const filesWith = (pattern: RegExp): string[] => sources.filter(({ text }) => pattern.test(text)).map(({ name }) => name)

test('only the signals between processes ring and listen, in statements of their own, and partitions that are handed over ring', () => {
  const allowed = ['adapters/postgres/hand-over.ts', 'adapters/postgres/signals.ts']
  expect(filesWith(/pg_notify|\b(?:notify|listen|unlisten) (?:twofold|\$\{|\*)/i)).toEqual(allowed)
  const text = sources.find(({ name }) => name === 'adapters/postgres/signals.ts')?.text ?? ''
  expect(text).not.toMatch(/\bbegin\b/i)
})

test('advisory locks end with their transaction, but for the one that counts who uses an embedded server', () => {
  expect(filesWith(/pg_(?:try_)?advisory_(?:un)?lock/)).toEqual(['adapters/postgres/embedded/keeper.ts'])
  expect(filesWith(/pg_(?:try_)?advisory_xact_lock/).length).toBeGreaterThan(0)
})

test('settings are made when a connection begins, or end with their transaction', () => {
  expect(filesWith(/\bset (?!local\b)(?:session )?(?:lock_timeout|statement_timeout|synchronous_commit|search_path|role)\b/i)).toEqual([
    'adapters/postgres/signals.ts',
  ])
})
