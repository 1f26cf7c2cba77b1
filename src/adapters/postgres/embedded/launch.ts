// Starts the server process: out of the terminal's reach, its log in a file, on a port of its own.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { createServer } from 'node:net'
import { TwofoldError } from '../../../errors.ts'
import { pause } from '../../../runtime/backoff.ts'
import type { Binaries } from './binaries.ts'
import { serverEnvironment, STANDING_IN } from './create-cluster.ts'
import { readPidFile } from './server-processes.ts'
import type { ServerUser } from './server-user.ts'

export interface Launch {
  readonly cluster: string
  readonly logFile: string
  readonly binaries: Binaries
  readonly user: ServerUser | undefined
}

// Durable as a production server (fsync and synchronous_commit stay on). `max_wal_size` bounds recovery after a kill; no socket file,
// because a data folder may lie deeper than a socket's path may be long. What is consumed is cleaned away every 10 s instead of every minute:
// the log's table then stays a sixth as large at full speed. No `default_toast_compression=lz4`: these binaries are built
// without lz4 and refuse to start with it.
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '128MB',
  max_wal_size: '1GB',
  autovacuum_naptime: '10s',
  jit: 'off',
  log_min_messages: 'warning',
  password_encryption: 'scram-sha-256',
}

/** Starts a server. Returns its process id once it has its folder; undefined if it ended before, say because another one has the folder. */
export async function launch(
  { cluster, logFile, binaries, user }: Launch,
  port: number | undefined,
  endsAt: number,
): Promise<number | undefined> {
  const settings = Object.entries({ ...SETTINGS, port: String(port ?? (await freePort())) }).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ])
  const log = await open(logFile, 'a', 0o600)
  try {
    const child = spawn(binaries.postgres, ['-D', user ? STANDING_IN : cluster, ...settings], {
      cwd: cluster,
      ...user,
      // A process group of its own: Ctrl-C in a terminal must not stop the database under a program that is still finishing.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: serverEnvironment,
    })
    const failed = once(child, 'error').then(([error]: unknown[]) => {
      throw new TwofoldError('EMBEDDED_POSTGRES_FAILED', `cannot run ${binaries.postgres}: ${String(error)}`, { cause: error })
    })
    failed.catch(() => undefined)
    child.unref()
    while (performance.now() < endsAt) {
      await Promise.race([pause(5), failed])
      if (child.exitCode !== null || child.signalCode !== null) return undefined
      if (readPidFile(cluster)?.pid === child.pid) return child.pid
    }
    return undefined
  } finally {
    await log.close()
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
