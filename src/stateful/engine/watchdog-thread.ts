// The thread that watches: it looks at a counter that the engine moves, and ends the process when it stands still inside a handler.
import { writeSync } from 'node:fs'
import { isMainThread, workerData } from 'node:worker_threads'

/** A counter of four bytes, odd while a handler runs, and the id of the command it runs for. */
export const WATCH_BYTES = 40

export interface WatchSettings {
  readonly shared: SharedArrayBuffer
  readonly limitMs: number
}

/** How often it looks: a handler is ended at its limit or that much later. */
const LOOKS_PER_LIMIT = 10

if (!isMainThread) watch(workerData as WatchSettings)

/** Counts its own looks instead of asking a clock: a process that was stopped meanwhile has not run, neither its handler nor this thread. */
function watch({ shared, limitMs }: WatchSettings): void {
  const turns = new Int32Array(shared, 0, 1)
  let seen = 0
  let looks = 0
  setInterval(
    () => {
      const now = Atomics.load(turns, 0)
      looks = now % 2 === 0 || now !== seen ? 0 : looks + 1
      seen = now
      if (looks >= LOOKS_PER_LIMIT) end(Buffer.from(shared, 4).toString('latin1'), limitMs)
    },
    Math.max(1, limitMs / LOOKS_PER_LIMIT),
  )
}

/** Written past all streams and loggers: they belong to the thread that is stuck. */
function end(commandId: string, limitMs: number): void {
  const message = `the handler of command ${commandId} has not returned after ${limitMs} ms; this process ends, and its partitions are taken over when its lease has ended`
  writeSync(2, `${JSON.stringify({ level: 60, time: Date.now(), commandId, msg: message })}\n`)
  process.kill(process.pid, 'SIGKILL')
}
