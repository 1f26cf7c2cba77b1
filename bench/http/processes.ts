// A server and the load on it, each in a process of its own: in one they would wait for each other.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Job, JobDone } from './job.ts'

export interface HttpServer {
  readonly pid: number
  readonly port: number
  load(job: Omit<Job, 'port'>): Promise<JobDone>
}

/** Starts both, and stops both when `use` is over. */
export async function withHttpServer<Value>(given: readonly string[], use: (server: HttpServer) => Promise<Value>): Promise<Value> {
  const server = started('serve.ts', given)
  const generator = started('generate.ts', [])
  try {
    const { port } = await answerOf<{ port: number }>(server)
    const load = async (job: Omit<Job, 'port'>): Promise<JobDone> => {
      generator.send({ ...job, port })
      return answerOf<JobDone>(generator)
    }
    return await use({ pid: server.pid ?? 0, port, load })
  } finally {
    await Promise.all([server, generator].map(stopped))
  }
}

function started(program: string, given: readonly string[]): ChildProcess {
  // What this process was started with (`--conditions=source`, `--cpu-prof`) holds for them too.
  return fork(fileURLToPath(new URL(program, import.meta.url)), given)
}

async function answerOf<Answer>(child: ChildProcess): Promise<Answer> {
  const ended = new AbortController()
  try {
    const exited = once(child, 'exit', { signal: ended.signal }).then(([code]) => {
      throw new Error(`${child.spawnargs.at(2) ?? 'the process'} ended with ${String(code)} before it answered`)
    })
    const [answer] = (await Promise.race([once(child, 'message', { signal: ended.signal }), exited])) as [Answer | { failed: string }]
    if (typeof answer === 'object' && answer !== null && 'failed' in answer) throw new Error(answer.failed)
    return answer
  } finally {
    ended.abort()
  }
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  if (child.connected) child.disconnect()
  await exit
}
