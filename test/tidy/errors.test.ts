// docs/reference/errors.md and src/errors.ts say the same, and no code is kept that nothing throws.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { errorAdvice } from '../../src/errors.ts'
import { statusOf } from '../../src/stateless/gateway/status-of.ts'
import { readRepository, root } from './source-program.ts'

interface Row {
  readonly code: string
  readonly meaning: string
  readonly status: string
  readonly retry: string
  readonly remedy: string
}

const rows = rowsOf(readFileSync(join(root, 'docs/reference/errors.md'), 'utf8'))

test('every code is documented once, in the order of errors.ts, with its retry advice', () => {
  expect(rows.map(({ code, retry }) => [code, retry])).toEqual(Object.entries(errorAdvice))
})

test('every documented code says what it means, which status it has and what to do', () => {
  const lacking = rows.filter(
    ({ meaning, status, remedy }) =>
      meaning === '' || remedy === '' || !/^(?:–|[45]\d\d(?:, or the 4xx its contract names)?)$/.test(status),
  )
  expect(lacking).toEqual([])
})

test('the documented statuses are the ones the gateway answers with; errors of the inside have none', () => {
  const wrong = rows.filter(({ code, status }) => {
    const answered = statusOf[code as keyof typeof statusOf]
    return status === '–' ? answered < 500 : Number.parseInt(status, 10) !== answered
  })
  expect(wrong.map(({ code, status }) => `${code}: ${status}`)).toEqual([])
})

test('every code is used somewhere in src', () => {
  const sources = readRepository().files.filter(({ path }) => path.startsWith('src/') && !path.endsWith('.test.ts'))
  const unused = Object.keys(errorAdvice).filter((code) => !sources.some(({ text }) => text.includes(`'${code}'`)))
  expect(unused).toEqual([])
})

function rowsOf(page: string): readonly Row[] {
  return [...page.matchAll(/^\| `(?<code>\w+)` \|(?<rest>.*)\|$/gm)].map((match) => {
    const [meaning = '', status = '', retry = '', remedy = ''] = (match.groups?.['rest'] ?? '').split('|').map((cell) => cell.trim())
    return { code: match.groups?.['code'] ?? '', meaning, status, retry, remedy }
  })
}
