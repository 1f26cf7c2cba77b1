// Ends the process when a handler never returns: it blocks the only thread that could notice, so another one watches.
//
// Why the process and not the handler: nothing in JavaScript can cut a synchronous function off but the end of its thread. An engine in a
// worker thread of its own could be ended alone, and would pay for every command and answer that crosses the threads (measured before:
// 0.6 µs a frame as text), where the watch costs two stores a command. The other roles of the process end with it; nothing accepted is lost.
//
// An entity handler is watched from its beginning to its end. An SQL handler waits most of its time, and others run meanwhile: what is watched
// is whether the thread still gets round to anything else.
import { Worker } from 'node:worker_threads'
import type { Service } from '../../runtime/service.ts'
import {
  BEATS,
  LOOKS_PER_LIMIT,
  NAME_BYTES,
  NAMES_MAX,
  RUNNING,
  TURNS,
  WATCH_BYTES,
  watchedIn,
  type WatchSettings,
} from './watchdog-thread.ts'

/** Told when a handler begins and when it is over. */
export interface HandlerWatch {
  began(commandId: string): void
  ended(): void
}

/** Told when a handler begins that runs beside others. What it returns is called when it is over. */
export interface SqlHandlerWatch {
  entered(commandId: string): () => void
}

export class Watchdog implements Service, HandlerWatch, SqlHandlerWatch {
  readonly #limitMs: number
  readonly #shared = new SharedArrayBuffer(WATCH_BYTES)
  readonly #watched = watchedIn(this.#shared)
  readonly #freePlaces = Array.from({ length: NAMES_MAX }, (_, place) => place)
  #thread: Worker | undefined
  #beat: NodeJS.Timeout | undefined

  /** `limitMs`: how long one run of a handler may take, or hold the thread. */
  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  start(): Promise<void> {
    // Beside this file and with its ending: it is TypeScript here and JavaScript in the package.
    const file = new URL(import.meta.url.replace(/watchdog\.(\w+)$/, 'watchdog-thread.$1'))
    const workerData: WatchSettings = { shared: this.#shared, limitMs: this.#limitMs }
    this.#thread = new Worker(file, { workerData })
    this.#thread.unref()
    const beat = (): void => void Atomics.add(this.#watched.counters, BEATS, 1)
    this.#beat = setInterval(beat, Math.max(1, this.#limitMs / LOOKS_PER_LIMIT)).unref()
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    clearInterval(this.#beat)
    await this.#thread?.terminate()
  }

  began(commandId: string): void {
    this.#watched.name.write(commandId, 0, 'latin1')
    Atomics.add(this.#watched.counters, TURNS, 1)
  }

  ended(): void {
    Atomics.add(this.#watched.counters, TURNS, 1)
  }

  entered(commandId: string): () => void {
    const { counters, names } = this.#watched
    const place = this.#freePlaces.pop()
    if (place !== undefined) names.write(commandId, place * NAME_BYTES, 'latin1')
    Atomics.add(counters, RUNNING, 1)
    return () => {
      Atomics.sub(counters, RUNNING, 1)
      if (place === undefined) return
      names.fill(0, place * NAME_BYTES, (place + 1) * NAME_BYTES)
      this.#freePlaces.push(place)
    }
  }
}
