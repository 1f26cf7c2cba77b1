// The thread that watches: it looks at counters that the main thread moves, and ends the process when they stand still inside a handler.
import { writeSync } from 'node:fs'
import { isMainThread, workerData } from 'node:worker_threads'

/** So many SQL handlers that run are named at most. */
export const NAMES_MAX = 64

export const NAME_BYTES = 36

/** Where in `counters` what is counted. */
export const TURNS = 0
export const BEATS = 1
export const RUNNING = 2

/** What the two threads share. */
export interface Watched {
  /**
   * `TURNS`: beginnings and ends of entity handlers, odd while one runs. `BEATS`: rises as long as the main thread gets round to its timers.
   * `RUNNING`: SQL handlers that have begun and not ended.
   */
  readonly counters: Int32Array
  /** The id of the command whose entity handler runs. */
  readonly name: Buffer
  /** The ids of the commands whose SQL handlers run, each in a place of its own; zeros where there is none. */
  readonly names: Buffer
}

export const WATCH_BYTES = 12 + NAME_BYTES + NAMES_MAX * NAME_BYTES

export function watchedIn(shared: SharedArrayBuffer): Watched {
  return {
    counters: new Int32Array(shared, 0, 3),
    name: Buffer.from(shared, 12, NAME_BYTES),
    names: Buffer.from(shared, 12 + NAME_BYTES),
  }
}

export interface WatchSettings {
  readonly shared: SharedArrayBuffer
  readonly limitMs: number
}

/** How often it looks: a handler is ended at its limit or that much later. */
export const LOOKS_PER_LIMIT = 10

if (!isMainThread) watch(workerData as WatchSettings)

/** Counts its own looks instead of asking a clock: a process that was stopped meanwhile has not run, neither its handler nor this thread. */
function watch({ shared, limitMs }: WatchSettings): void {
  const { counters, name, names } = watchedIn(shared)
  let [turns, beats, looks] = [0, 0, 0]
  setInterval(
    () => {
      const [turnsBefore, beatsBefore] = [turns, beats]
      turns = Atomics.load(counters, TURNS)
      beats = Atomics.load(counters, BEATS)
      const inEntity = turns % 2 !== 0
      // An SQL handler may run for long: only when nothing else gets its turn meanwhile it holds the thread.
      const isHeld = inEntity || (beats === beatsBefore && Atomics.load(counters, RUNNING) > 0)
      looks = isHeld && turns === turnsBefore ? looks + 1 : 0
      if (looks < LOOKS_PER_LIMIT) return
      if (inEntity) end([name.toString('latin1')], `the handler of command ${name.toString('latin1')} has not returned after ${limitMs} ms`)
      end(idsIn(names), `an SQL handler has not let go of the thread for ${limitMs} ms; those of commands ${idsIn(names).join(', ')} run`)
    },
    Math.max(1, limitMs / LOOKS_PER_LIMIT),
  )
}

function idsIn(names: Buffer): string[] {
  const places = Array.from({ length: NAMES_MAX }, (_, at) => names.subarray(at * NAME_BYTES, (at + 1) * NAME_BYTES))
  return places.filter(([first]) => first !== 0).map((place) => place.toString('latin1'))
}

/** Written past all streams and loggers: they belong to the thread that is stuck. */
function end(commandIds: readonly string[], reason: string): void {
  const message = `${reason}; this process ends, and its partitions are taken over when its lease has ended`
  writeSync(2, `${JSON.stringify({ level: 60, time: Date.now(), commandIds, msg: message })}\n`)
  process.kill(process.pid, 'SIGKILL')
}
