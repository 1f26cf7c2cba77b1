import { expect, test } from 'vitest'
import { StatementNames } from './statement-names.ts'

test('a text gets a name the second time it is said, and keeps it', () => {
  const names = new StatementNames()
  expect(names.nameOf('select 1')).toBeUndefined()
  const name = names.nameOf('select 1')
  expect([name, names.nameOf('select 1')]).toEqual([expect.stringMatching(/^twofold_handler_/), name])
})

test('texts that are made anew each time get no names, and those said often get so many at most', () => {
  const names = new StatementNames()
  for (let at = 0; at < 10_000; at += 1) expect(names.nameOf(`select ${at}`)).toBeUndefined()
  const given = Array.from({ length: 1000 }, (_, at) => [names.nameOf(`say ${at}`), names.nameOf(`say ${at}`)][1])
  expect(given.filter((name) => name !== undefined)).toHaveLength(200)
})

test('a text that is long gets none', () => {
  const names = new StatementNames()
  const text = `select '${'x'.repeat(20_000)}'`
  expect([names.nameOf(text), names.nameOf(text)]).toEqual([undefined, undefined])
})
