// A page that no other page leads to is not read. A link to a folder leads to all that is in it.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, posix } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './source-program.ts'

const pages = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  .map((name) => `docs/${name.replaceAll('\\', '/')}`)
  .filter((path) => path.endsWith('.md'))

/** Files and folders of this repository that a page links to. */
function linksOf(page: string): string[] {
  const links = [...readFileSync(join(root, page), 'utf8').matchAll(/\]\((?<target>[^)#\s]+)(?:#[^)]*)?\)/g)]
  const targets = links.map(({ groups }) => groups?.['target'] ?? '').filter((target) => !/^[a-z]+:/.test(target))
  return targets.map((target) => posix.join(posix.dirname(page), target).replace(/\/$/, ''))
}

function pagesAt(path: string): string[] {
  if (!existsSync(join(root, path))) return []
  if (!statSync(join(root, path)).isDirectory()) return path.endsWith('.md') ? [path] : []
  return pages.filter((page) => posix.dirname(page) === path)
}

test('every page of docs/ is reached from the README by links', () => {
  const reached = new Set(['README.md'])
  // A set that grows while it is walked is walked to its end.
  for (const page of reached) for (const link of linksOf(page)) for (const next of pagesAt(link)) reached.add(next)
  expect(pages.length).toBeGreaterThan(10)
  expect(pages.filter((page) => !reached.has(page))).toEqual([])
})

test.each(['README.md', ...pages])('every link of %s leads somewhere', (page) => {
  expect(linksOf(page).filter((link) => !existsSync(join(root, link)))).toEqual([])
})
