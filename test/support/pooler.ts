// What a pooler does to the sessions behind it, as far as a client can see it: it makes up the process id that it tells at the beginning,
// and in transaction mode all clients take turns on one backend.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface Pooler {
  readonly url: string
  close(): Promise<void>
}

/** BackendKeyData: type, length, process id, secret. */
const KEY = Buffer.from([0x4b, 0, 0, 0, 12])

/** AuthenticationOk, BackendKeyData of process 1, ReadyForQuery. */
const WELCOME = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, ...KEY, 0, 0, 0, 1, 0, 0, 0, 1, 0x5a, 0, 0, 0, 5, 0x49])

const TERMINATE = 0x58

export async function poolerTo(target: string, mode: 'session' | 'transaction'): Promise<Pooler> {
  const sockets = new Set<Socket>()
  let shared: Backend | undefined
  const server = createServer((client) => {
    sockets.add(client)
    client.on('error', () => undefined)
    client.once('data', (startup: Buffer) => {
      const isFirst = mode === 'session' || shared === undefined
      const backend = isFirst ? backendOf(target, sockets) : (shared as Backend)
      shared = backend
      backend.turn(client)
      if (isFirst) backend.socket.write(startup)
      else client.write(WELCOME)
      client.on('data', (chunk: Buffer) => {
        if (mode === 'transaction' && chunk[0] === TERMINATE) return void client.end()
        backend.turn(client)
        backend.socket.write(chunk)
      })
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(target)
  url.host = `127.0.0.1:${(server.address() as { port: number }).port}`
  return {
    url: url.href,
    async close() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

interface Backend {
  readonly socket: Socket
  /** From now on this client hears the answers. */
  turn(client: Socket): void
}

function backendOf(target: string, sockets: Set<Socket>): Backend {
  const { hostname, port } = new URL(target)
  const socket = connect(Number(port), hostname)
  sockets.add(socket)
  let current: Socket | undefined
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    const at = chunk.indexOf(KEY)
    if (at >= 0) chunk.writeInt32BE(1, at + KEY.length)
    current?.write(chunk)
  })
  socket.on('close', () => current?.destroy())
  return { socket, turn: (client) => void (current = client) }
}
