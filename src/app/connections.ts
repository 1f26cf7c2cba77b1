// The connections of a server that nothing is being done for: a browser opens some in advance and never uses them.
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'

export interface Connections {
  /** Cuts every connection that has no request in hand; Node's own `closeIdleConnections` spares those that never had one. */
  cutIdle(): void
}

/** Watches a server's connections from now on. */
export function watchConnections(server: Server): Connections {
  const unused = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  server.on('request', ({ socket }: IncomingMessage) => unused.delete(socket))
  return {
    cutIdle() {
      server.closeIdleConnections()
      for (const socket of unused) socket.destroy()
    },
  }
}
