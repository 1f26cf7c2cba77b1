// Real processes for end-to-end tests: started, waited for by what they print, stopped or killed by their own id.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A running program and everything it has printed. */
export interface Program {
  readonly child: ChildProcess
  readonly output: () => string
  /** Resolves with the match once the output has it; rejects when the program ends first or after `timeoutMs` (default 20 s). */
  printed(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>
  /** Sends a signal and waits for the end; returns the exit code, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
  /** Waits for the program to end by itself. */
  ended(timeoutMs: number): Promise<number | NodeJS.Signals | null>
}

/** To compile the sources anew for each process costs more than most of them do: 0.8 s without, 0.5 s with it. */
const COMPILED = join(tmpdir(), 'twofold-compiled')

/** Runs a TypeScript file of this repository from its sources. */
export function startProgram(file: string, environment: Record<string, string>, args: readonly string[] = []): Program {
  const child = spawn(process.execPath, ['--conditions=source', file, ...args], {
    env: { NODE_COMPILE_CACHE: COMPILED, ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  const listeners = new Set<() => void>()
  const add = (chunk: Buffer): void => {
    text += chunk.toString()
    for (const listener of listeners) listener()
  }
  child.stdout?.on('data', add)
  child.stderr?.on('data', add)
  const over = once(child, 'close').then(() => {
    for (const listener of listeners) listener()
    return child.exitCode ?? child.signalCode
  })
  const ended = async (timeoutMs: number): Promise<number | NodeJS.Signals | null> => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${file} had not ended after ${timeoutMs} ms:\n${text}`)), timeoutMs)
    })
    return Promise.race([over, late]).finally(() => clearTimeout(timer))
  }
  return {
    child,
    output: () => text,
    ended,
    printed(pattern, timeoutMs = 20_000) {
      return new Promise((resolve, reject) => {
        const settle = (finish: () => void): void => {
          listeners.delete(look)
          clearTimeout(timer)
          finish()
        }
        const look = (): void => {
          const match = pattern.exec(text)
          if (match) settle(() => resolve(match))
          else if (child.exitCode !== null || child.signalCode !== null)
            settle(() => reject(new Error(`${file} ended without printing ${pattern}:\n${text}`)))
        }
        const timer = setTimeout(
          () => settle(() => reject(new Error(`${file} did not print ${pattern} within ${timeoutMs} ms:\n${text}`))),
          timeoutMs,
        )
        listeners.add(look)
        look()
      })
    },
    async end(signal) {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      return ended(15_000)
    },
  }
}

/** The address a started app has printed. */
export async function addressOf(program: Program, timeoutMs?: number): Promise<string> {
  const [, address] = await program.printed(/address\s+(http:\S+)/, timeoutMs)
  return address ?? ''
}

/** Waits until `holds` is true, looking every 25 ms; rejects after `timeoutMs` saying what it waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}
