import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { bannerOf } from './banner.ts'

const started = {
  name: 'shop',
  url: 'http://127.0.0.1:3001',
  moved: true,
  roles: ['stateless', 'stateful'],
  database: '.twofold',
  carrier: 'rabbitmq',
}

test('a body with quotes survives the shell', () => {
  const body = { note: `it's "new"`, lines: [{ quantity: 2 }] }
  const line = bannerOf({ ...started, examples: [{ method: 'POST', path: '/orders', body }] })
    .split('\n')
    .find((candidate) => candidate.includes('/orders'))
  const words = execFileSync('sh', ['-c', `for word in ${line?.trim()}; do printf '%s\\n' "$word"; done`], { encoding: 'utf8' }).split('\n')
  expect(JSON.parse(words[4] ?? '')).toEqual(body)
  expect(words[5]).toBe('http://127.0.0.1:3001/orders')
})

test('it says that the port was taken', () => {
  expect(bannerOf({ ...started, examples: [] })).toContain('http://127.0.0.1:3001   (port 3000 was taken)')
  expect(bannerOf({ ...started, moved: false, examples: [] })).not.toContain('taken')
})

test('it says what carries commands', () => {
  expect(bannerOf({ ...started, examples: [] })).toMatch(/^ {2}carrier {3}rabbitmq$/m)
})

test('a process without the stateless role shows how to see that it is ready', () => {
  expect(bannerOf({ ...started, roles: ['stateful'], examples: [{ method: 'GET', path: '/orders/1' }] })).toMatch(/curl \S+\/readyz\n/)
})
