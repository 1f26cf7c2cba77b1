import { once } from 'node:events'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LineReader, LineSender } from './lines.ts'

test('lines of one turn of the event loop leave as one piece', async () => {
  const sender = new LineSender()
  const pieces: string[] = []
  sender.setEncoding('utf8').on('data', (piece: string) => pieces.push(piece))
  await new Promise(setImmediate)
  for (const line of ['a', 'b', 'c']) sender.send(line)
  await new Promise(setImmediate)
  sender.send('d')
  sender.end()
  await once(sender, 'end')
  expect(pieces).toEqual(['a\nb\nc\n', 'd\n'])
})

test('lines come out as they went in, wherever their bytes are cut', () => {
  const line = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\n', ' '))
  fc.assert(
    fc.property(fc.array(line, { maxLength: 5 }), fc.integer({ min: 1, max: 7 }), (lines, size) => {
      const bytes = Buffer.from(lines.map((each) => `${each}\n`).join(''))
      const reader = new LineReader(1000)
      const read: string[] = []
      for (let at = 0; at < bytes.length; at += size) read.push(...reader.read(bytes.subarray(at, at + size)))
      expect(read).toEqual(lines)
    }),
    { numRuns: 50 },
  )
})

test('a line that is too long is refused, whether it has ended or not', () => {
  expect(() => new LineReader(10).read(Buffer.from('12345678901'))).toThrow('longer than 10 characters')
  expect(() => new LineReader(10).read(Buffer.from('12345678901\n'))).toThrow('longer than 10 characters')
  const reader = new LineReader(10)
  expect(reader.read(Buffer.from('1234567890\n12345'))).toEqual(['1234567890'])
  expect(() => reader.read(Buffer.from('678901\n'))).toThrow('longer than 10 characters')
})
