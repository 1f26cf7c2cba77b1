// A peer as a process of its own: it gets an order on stdin and answers on stdout.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Answer, Measured, Order } from './peers/order.ts'

/** Beside the load: starting servers, warming up, verifying. */
const AROUND_MS = 120_000

/** Of what it says on stderr, the last lines. */
const COMPLAINTS_MAX = 20

/** Runs the peer whose `main.ts` is in `folder`, and hands on what it has measured. */
export async function askPeer(name: string, folder: string, order: Order): Promise<Measured> {
  // In a process group of its own: what it has started beside it goes with it.
  const child = spawn(process.execPath, [join(folder, 'main.ts')], { cwd: folder, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
  const complaints: string[] = []
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()))
  child.on('error', (error) => complaints.push(error.message))
  const timer = setTimeout(() => endGroup(child.pid), order.seconds * 3000 + AROUND_MS)
  createInterface({ input: child.stderr }).on('line', (line) => {
    complaints.push(line)
    if (complaints.length > COMPLAINTS_MAX) complaints.shift()
  })
  let answer: Measured | undefined
  let progress = 'starting'
  try {
    child.stdin.on('error', () => undefined)
    // Left open: a peer that sees it closed knows that nobody is there any more. A group of its own gets no Ctrl-C.
    child.stdin.write(`${JSON.stringify(order)}\n`)
    for await (const line of createInterface({ input: child.stdout })) {
      const said = answerOf(line)
      if (said === undefined) complaints.push(line)
      else if ('measured' in said) answer = said.measured
      else if ('progress' in said) process.stderr.write(`${name}: ${(progress = said.progress)}\n`)
      else complaints.push(said.failed)
    }
    await closed
  } finally {
    clearTimeout(timer)
    endGroup(child.pid)
  }
  if (answer !== undefined) return answer
  throw new Error(`ended while ${progress}, without an answer: ${complaints.join('\n').trim() || 'it took too long, or was killed'}`)
}

/** Libraries write to stdout too: what is no answer is a complaint. */
function answerOf(line: string): Answer | undefined {
  try {
    const said: unknown = JSON.parse(line)
    return typeof said === 'object' && said !== null && ('measured' in said || 'progress' in said || 'failed' in said)
      ? (said as Answer)
      : undefined
  } catch {
    return undefined
  }
}

function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left in the group.
  }
}
