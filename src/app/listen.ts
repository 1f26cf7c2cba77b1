// Opens a port: the one asked for, or by default 3000 or the next free one.
import type { FastifyInstance } from 'fastify'
import { TwofoldError } from '../errors.ts'

const PORT_DEFAULT = 3000
const PORT_TRIES = 100

/** Where a server listens. `moved`: the default port was taken. */
export interface Listening {
  readonly url: string
  readonly port: number
  readonly moved: boolean
}

/** @throws TwofoldError PORT_TAKEN when the port asked for is taken (or 100 in a row are), INVALID_OPTIONS for an address that is not this machine's. */
export async function listen(server: FastifyInstance, host: string, port: number | undefined): Promise<Listening> {
  const tries = port === undefined ? PORT_TRIES : 1
  for (let step = 0; step < tries; step += 1) {
    const candidate = (port ?? PORT_DEFAULT) + step
    try {
      await server.listen({ host, port: candidate })
      const address = server.server.address()
      const bound = typeof address === 'object' && address !== null ? address.port : candidate
      return { url: `http://${shown(host)}:${bound}`, port: bound, moved: step > 0 }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EADDRINUSE' || code === 'EACCES') continue
      if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
        throw new TwofoldError(
          'INVALID_OPTIONS',
          `cannot listen on '${host}': it is not an address of this machine; set HOST to one that is, such as 127.0.0.1 or 0.0.0.0`,
          {
            cause: error,
          },
        )
      }
      throw error
    }
  }
  const last = (port ?? PORT_DEFAULT) + tries - 1
  const what = tries === 1 ? `port ${last} on ${host} is taken` : `ports ${PORT_DEFAULT} to ${last} on ${host} are taken`
  throw new TwofoldError(
    'PORT_TAKEN',
    `${what} or not allowed: stop the program that listens there, or set PORT to another one (0 takes any free one)`,
  )
}

/** An address that a browser or curl on this machine can use. */
function shown(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}
