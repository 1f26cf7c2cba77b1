import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startingAlone } from './start-lock.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twofold-lock-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

function alone<T>(waitMs: number, work: () => Promise<T>, signal = new AbortController().signal): Promise<T> {
  return startingAlone(folder, performance.now() + waitMs, signal, work)
}

// Where there are no abstract sockets, nobody waits: the server's own lock decides.
const locks = process.platform === 'linux'

test.runIf(locks)('two starts of one folder come one after the other, also after one that failed', async () => {
  const steps: string[] = []
  let fail: (error: Error) => void = () => undefined
  const first = alone(1000, async () => {
    steps.push('first begins')
    await new Promise((_, reject) => (fail = reject))
  })
  const second = alone(1000, () => Promise.resolve(steps.push('second')))
  await alone(0, () => Promise.resolve()).catch(() => undefined)
  steps.push('first ends')
  fail(new Error('planned'))
  await expect(first).rejects.toThrow('planned')
  await second
  expect(steps).toEqual(['first begins', 'first ends', 'second'])
})

test.runIf(locks)('a start that waits too long is told that the folder is in use; one that is given up ends at once', async () => {
  await alone(1000, async () => {
    await expect(alone(0, () => Promise.resolve())).rejects.toMatchObject({ code: 'DATA_FOLDER_IN_USE' })
    const stopping = new AbortController()
    const waiting = alone(60_000, () => Promise.resolve(), stopping.signal)
    stopping.abort(new Error('given up'))
    await expect(waiting).rejects.toThrow('given up')
  })
})
