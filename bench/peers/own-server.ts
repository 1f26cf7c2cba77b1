// A server that a peer needs beside PostgreSQL, started for one measurement and ended after it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'

export interface OwnServer {
  stop(): Promise<void>
}

const START_MS = 60_000

/** Starts `command` and waits until `ready` no longer throws. */
export async function startServer(
  command: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: Readonly<Record<string, string>>; readonly ready: () => Promise<unknown> },
): Promise<OwnServer> {
  const child = spawn(command, args, { cwd: options.cwd, env: { ...process.env, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (said = (said + data.toString()).slice(-4000)))
  let ended: string | undefined
  child.on('error', (error) => (ended = `${command} cannot be started: ${error.message}; install it, or leave this peer out`))
  const closed = new Promise<void>((resolve) =>
    child.on('close', (code) => {
      ended ??= `${command} ended with ${code}: ${said.trim()}`
      resolve()
    }),
  )
  const until = performance.now() + START_MS
  for (;;) {
    try {
      await options.ready()
      break
    } catch (error) {
      if (ended !== undefined) throw new Error(ended, { cause: error })
      if (performance.now() > until)
        throw new Error(`${command} was not ready after ${START_MS / 1000} s: ${said.trim()}`, { cause: error })
      await delay(50)
    }
  }
  return {
    async stop() {
      child.kill('SIGTERM')
      await Promise.race([closed, delay(10_000, undefined, { ref: false })])
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}
