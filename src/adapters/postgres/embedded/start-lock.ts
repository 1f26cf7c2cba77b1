// One starter at a time per data folder. A start looks at files and processes and acts on what it saw; without this, a second starter could
// take the first one's newborn server for an orphan, or remove the pid file it has just written.
import { statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { TwofoldError } from '../../../errors.ts'
import { pause } from '../../../runtime/backoff.ts'

/**
 * Runs `work` while nobody else starts a server in `folder`; what is done meanwhile has to look anew. The lock is an abstract socket, which
 * the kernel frees however its process ends; a lock file would be left behind by `kill -9`. Only Linux has these. Elsewhere the server's
 * own lock decides alone who wins, and the loser finds the winner's server. Rejects with the signal's reason when `signal` is aborted.
 * @throws TwofoldError DATA_FOLDER_IN_USE when it is not to be had before `endsAt`
 */
export async function startingAlone<T>(folder: string, endsAt: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  if (process.platform !== 'linux') return work()
  const { dev, ino } = statSync(folder)
  let lock = await tryListen(`\0twofold-start-${dev}-${ino}`)
  while (lock === 'taken') {
    signal.throwIfAborted()
    if (performance.now() > endsAt) {
      const message = `another program has long been starting the PostgreSQL in ${folder}: wait for it, end it, or set TWOFOLD_DATA_DIR to another folder`
      throw new TwofoldError('DATA_FOLDER_IN_USE', message)
    }
    await pause(20, signal)
    lock = await tryListen(`\0twofold-start-${dev}-${ino}`)
  }
  try {
    return await work()
  } finally {
    if (lock !== 'unavailable') lock.close()
  }
}

/** `unavailable`: a sandbox without abstract sockets is treated like another platform. */
function tryListen(path: string): Promise<Server | 'taken' | 'unavailable'> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRINUSE' ? 'taken' : 'unavailable'))
    // `exclusive`: in a worker of node:cluster, workers would otherwise share the socket and all hold the lock.
    server.listen({ path, exclusive: true }, () => resolve(server))
  })
}
