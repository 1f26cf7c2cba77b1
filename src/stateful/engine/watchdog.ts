// Ends the process when an entity handler never returns: it blocks the only thread that could notice, so another one watches.
//
// Why the process and not the handler: nothing in JavaScript can cut a synchronous function off but the end of its thread. An engine in a
// worker thread of its own could be ended alone, and would pay for every command and answer that crosses the threads (measured before:
// 0.6 µs a frame as text), where the watch costs two stores a command. The other roles of the process end with it; nothing accepted is lost.
import { Worker } from 'node:worker_threads'
import type { Service } from '../../runtime/service.ts'
import { WATCH_BYTES, type WatchSettings } from './watchdog-thread.ts'

/** Told when a handler begins and when it is over. */
export interface HandlerWatch {
  began(commandId: string): void
  ended(): void
}

export class Watchdog implements Service, HandlerWatch {
  readonly #limitMs: number
  readonly #shared = new SharedArrayBuffer(WATCH_BYTES)
  /** Counts beginnings and ends: odd while a handler runs. */
  readonly #turns = new Int32Array(this.#shared, 0, 1)
  readonly #running = Buffer.from(this.#shared, 4, WATCH_BYTES - 4)
  #thread: Worker | undefined

  /** `limitMs`: how long one run of a handler may take. */
  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  start(): Promise<void> {
    // Beside this file and with its ending: it is TypeScript here and JavaScript in the package.
    const file = new URL(import.meta.url.replace(/watchdog\.(\w+)$/, 'watchdog-thread.$1'))
    const workerData: WatchSettings = { shared: this.#shared, limitMs: this.#limitMs }
    this.#thread = new Worker(file, { workerData })
    this.#thread.unref()
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    await this.#thread?.terminate()
  }

  began(commandId: string): void {
    this.#running.write(commandId, 0, 'latin1')
    Atomics.add(this.#turns, 0, 1)
  }

  ended(): void {
    Atomics.add(this.#turns, 0, 1)
  }
}
