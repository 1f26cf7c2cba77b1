// The peers of the benchmark: each folder can be installed and read on its own, and the harness knows them all.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { peers } from '../../bench/peers.ts'
import { root } from './source-program.ts'

const folders = readdirSync(join(root, 'bench/peers'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)

test('the harness measures every peer that has a folder, and no other', () => {
  expect(folders.length).toBeGreaterThan(0)
  expect(peers.map(({ name }) => name).toSorted()).toEqual(folders.map((name) => `peer-${name}`).toSorted())
})

test.each(folders)('%s pins its packages, as its lock file has them', (folder) => {
  const { dependencies } = readJson(folder, 'package.json') as { dependencies: Record<string, string> }
  const lock = readJson(folder, 'package-lock.json') as {
    packages: Record<string, { dependencies: Record<string, string>; resolved?: string }>
  }
  expect(Object.values(dependencies).filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
  expect(lock.packages['']?.dependencies).toEqual(dependencies)
  expect(Object.values(lock.packages).filter(({ resolved }) => resolved !== undefined)).toEqual([])
})

test.each(folders)('%s says in at most 30 lines how it is set up and what it guarantees', (folder) => {
  const text = readFileSync(join(root, 'bench/peers', folder, 'README.md'), 'utf8')
  expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(30)
  const guarantees = ['order per account', 'deduplication', 'effect and queue in one transaction', 'events', 'reply']
  expect(guarantees.filter((guarantee) => !text.includes(`| ${guarantee} |`))).toEqual([])
})

/** What a README denies or leaves to its user, as the table of the benchmark says it. */
const LACKING: Readonly<Record<string, RegExp>> = {
  'order per account': /order per account/,
  deduplication: /deduplication[^;]* by hand/,
  'effect and queue in one transaction': /one transaction for queue and effect|apart from the effect/,
  events: /event by hand/,
  reply: /replies/,
}

test.each(folders)('the figures of %s say what they are without, as its README does', (folder) => {
  const text = readFileSync(join(root, 'bench/peers', folder, 'README.md'), 'utf8')
  const lacks = /lacks: '(?<words>[^']+)'/.exec(readFileSync(join(root, 'bench/peers', folder, 'main.ts'), 'utf8'))?.groups?.['words']
  for (const [guarantee, words] of Object.entries(LACKING)) {
    const given = new RegExp(`^\\| ${guarantee} \\| (?<given>.+) \\|$`, 'm').exec(text)?.groups?.['given'] ?? ''
    expect(given, guarantee).not.toBe('')
    // What a peer can do and the benchmark does not measure may be named or not.
    const named = given.includes('not measured') ? words.test(lacks ?? '') : !given.startsWith('yes')
    expect(words.test(lacks ?? ''), `'without' names ${guarantee}, of which the README says: ${given}`).toBe(named)
  }
})

function readJson(folder: string, name: string): unknown {
  return JSON.parse(readFileSync(join(root, 'bench/peers', folder, name), 'utf8'))
}
