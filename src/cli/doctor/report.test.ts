import { expect, test } from 'vitest'
import type { Check } from './check.ts'
import { textReport } from './report.ts'

const address = 'amqp://127.0.0.1:5672/a-name-that-is-longer-than-there-is-room-for-in-a-line-of-so-few-columns'
const checks: Check[] = [
  { name: 'node', status: 'ok', found: 'it is new enough' },
  {
    name: 'rabbitmq',
    status: 'fault',
    found: `RabbitMQ does not answer at ${address} since a while`,
    advice: 'start it, or correct AMQP_URL, or choose another carrier',
  },
]

test('on a terminal lines are broken between words, and what goes on stands under what began', () => {
  const lines = textReport(checks, { colours: false, columns: 54 }).split('\n')
  expect(lines.slice(1, -3)).toEqual([
    '  ✓ node      it is new enough',
    '  ✗ rabbitmq  RabbitMQ does not answer at',
    `              ${address}`,
    '              since a while',
    '              → start it, or correct AMQP_URL, or',
    '                choose another carrier',
  ])
})

test('for a program that reads them they are not', () => {
  const lines = textReport(checks, { colours: false }).split('\n')
  expect(lines.slice(1, -3)).toHaveLength(3)
})
