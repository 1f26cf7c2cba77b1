// A TCP proxy in front of a database, to take it away and bring it back without touching the server others use.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

export interface Proxy {
  /** The given address, by way of the proxy. */
  readonly url: string
  /** Cuts every connection and refuses new ones. */
  cut(): Promise<void>
  /** Keeps every connection open and lets nothing through any more, as a network does that drops packets. */
  freeze(): void
  /** Lets requests through and no answers, on connections that are open. */
  mute(): void
  /** Takes connections again, at the same port. */
  restore(): Promise<void>
  close(): Promise<void>
}

export interface ProxyOptions {
  /** Changes what the server answers, chunk by chunk. */
  readonly rewrite?: (answer: Buffer) => Buffer
}

export async function proxyTo(target: string, { rewrite = (answer) => answer }: ProxyOptions = {}): Promise<Proxy> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  const servers = new Set<Socket>()
  const serve = (): ReturnType<typeof createServer> =>
    createServer((near) => {
      const far = connect(Number(port), hostname)
      for (const socket of [near, far]) {
        sockets.add(socket)
        socket.on('error', () => undefined)
        socket.on('close', () => {
          sockets.delete(socket)
          near.destroy()
          far.destroy()
        })
      }
      servers.add(far)
      far.on('close', () => servers.delete(far))
      const answers = new Transform({ transform: (chunk: Buffer, _, done) => done(null, rewrite(chunk)) })
      near.pipe(far).pipe(answers).pipe(near)
    })
  let server = serve().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address() as { port: number }
  const url = new URL(target)
  url.host = `127.0.0.1:${address.port}`
  const cut = async (): Promise<void> => {
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  return {
    url: url.href,
    cut,
    freeze() {
      for (const socket of sockets) socket.unpipe().pause()
    },
    mute() {
      // Read on, or the server would see that nobody listens.
      for (const socket of servers) socket.unpipe().resume()
    },
    async restore() {
      server = serve().listen(address.port, '127.0.0.1')
      await once(server, 'listening')
    },
    close: cut,
  }
}
