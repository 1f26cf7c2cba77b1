// A peer's process and the harness: a number is heard only from a peer whose result is right.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { askPeer } from '../../bench/ask-peer.ts'
import type { Measured } from '../../bench/peers/order.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
let scratch: string

beforeEach(async () => {
  database = await testDatabase()
  scratch = await mkdtemp(join(tmpdir(), 'twofold-peer-test-'))
})

afterEach(async () => {
  await database.drop()
  await rm(scratch, { recursive: true })
})

test('a peer whose result is right is measured', { timeout: 60_000 }, async () => {
  const measured = await ask(1)
  expect(measured).toMatchObject({ verified: true, lacks: 'everything else', versions: { nothing: '1.0.0' } })
  expect(measured.perSecond).toBeGreaterThan(0)
  expect(measured.p50MsAlone).toBeGreaterThan(0)
})

test('a peer that does a repeated command again gets no number', { timeout: 60_000 }, async () => {
  await expect(ask(2)).rejects.toThrow(/^ended while verifying, without an answer: Error: cents: \d+ instead of \d+; versions: /)
})

test('a peer that cannot start says why', { timeout: 60_000 }, async () => {
  await expect(askPeer('peer-none', join(scratch, 'none'), order(1))).rejects.toThrow(
    /^ended while starting, without an answer: spawn .* ENOENT$/,
  )
})

test('a peer whose harness is gone ends, with all that it has started', { timeout: 60_000 }, async () => {
  const main = join(import.meta.dirname, 'peer/main.ts')
  const child = spawn(process.execPath, [main], { detached: true, stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  child.stdin.write(`${JSON.stringify({ ...order(1), seconds: 50 })}\n`)
  for await (const line of createInterface({ input: child.stdout })) if (line.includes('measuring')) child.stdin.destroy()
  expect(await ended).toEqual([null, 'SIGKILL'])
})

function ask(concurrency: number): Promise<Measured> {
  return askPeer('peer-test', join(import.meta.dirname, 'peer'), order(concurrency))
}

function order(concurrency: number): Parameters<typeof askPeer>[2] {
  return { url: database.url, seconds: 1, callers: 8, concurrency, scratch }
}
