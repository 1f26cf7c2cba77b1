import { expect, test } from 'vitest'
import { errorAdvice, TwofoldError, type ErrorCode } from '../../errors.ts'
import { problemOf } from './problem.ts'
import { statusOf } from './status-of.ts'

const codes = Object.keys(errorAdvice) as ErrorCode[]

test.each(codes)('%s has an error status', (code) => {
  expect(statusOf[code]).toBeGreaterThanOrEqual(400)
  expect(statusOf[code]).toBeLessThan(600)
})

test.each(codes.filter((code) => errorAdvice[code] === 'backoff'))('whoever meets %s is told to come back, and when', (code) => {
  expect([409, 429, 503, 504]).toContain(statusOf[code])
  expect(problemOf(new TwofoldError(code, 'x'))).toMatchObject({ headers: { 'retry-after': '1' } })
})
