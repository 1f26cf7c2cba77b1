// Rule 20 for both styles: a process whose thread is held by a handler is ended, and no other one.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { within } from '../../../test/support/within.ts'

const IDS = ['0190b1d2-7000-7000-8000-00000000000a', '0190b1d2-7000-7000-8000-00000000000b', '0190b1d2-7000-7000-8000-00000000000c']

/** Runs `code` in a process with a watchdog of 300 ms, once that looks; ends it by itself after it has held the thread for three limits. */
async function run(code: string): Promise<{ readonly end: unknown; readonly said: string }> {
  const program = `import { Watchdog } from ${JSON.stringify(new URL('./watchdog.ts', import.meta.url).href)}
    const ids = ${JSON.stringify(IDS)}
    const hold = (ms) => { for (const until = performance.now() + ms; performance.now() < until;); }
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
    const watchdog = new Watchdog(300)
    await watchdog.start()
    // Its thread takes a moment to start.
    await wait(1000)
    ${code}
    await watchdog.stop()`
  const child = spawn(process.execPath, ['--conditions=source', '-e', program])
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await within('the process has ended', once(child, 'close'), 30_000)
  return { end: child.signalCode ?? child.exitCode, said }
}

test(
  'an SQL handler that does not let go of the thread ends its process, with the commands that run named',
  { timeout: 40_000 },
  async () => {
    const { end, said } = await run(`
    const ended = watchdog.entered(ids[0])
    for (const id of ids.slice(1)) watchdog.entered(id)
    ended()
    hold(5000)`)
    expect(end).toBe('SIGKILL')
    expect(said).toContain(`an SQL handler has not let go of the thread for 300 ms; those of commands ${IDS[2]}, ${IDS[1]} run`)
  },
)

test('SQL handlers that wait, entity handlers that end, and whatever else holds the thread end nothing', { timeout: 40_000 }, async () => {
  const { end, said } = await run(`
    hold(1500)
    const ended = watchdog.entered(ids[0])
    await wait(1500)
    for (let batch = 0; batch < 15; batch += 1) {
      watchdog.began(ids[1])
      hold(100)
      watchdog.ended()
    }
    await wait(100)
    ended()
    hold(1500)`)
  expect([end, said]).toEqual([0, ''])
})
