// The connections of a server that nothing is being done for: a browser opens some in advance and never uses them.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export interface Connections {
  /** Cuts every connection that has no request in hand; Node's own `closeIdleConnections` spares those that never had one. */
  cutIdle(): void
}

/** Watches a server's connections from now on. */
export function watchConnections(server: Server): Connections {
  const inHand = new Map<Socket, number>()
  server.on('connection', (socket: Socket) => {
    inHand.set(socket, 0)
    socket.once('close', () => inHand.delete(socket))
  })
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    inHand.set(socket, (inHand.get(socket) ?? 0) + 1)
    response.once('close', () => inHand.has(socket) && inHand.set(socket, (inHand.get(socket) ?? 1) - 1))
  })
  return {
    cutIdle() {
      for (const [socket, requests] of inHand) if (requests === 0) socket.destroy()
    },
  }
}
