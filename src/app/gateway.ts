// An app inside somebody else's Fastify server: `server.register(gateway, { app: shop, prefix: '/api' })`.
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { openapiDocument } from '../documents/openapi.ts'
import { gatewayPlugin } from '../stateless/gateway/plugin.ts'
import { startBackend } from './backend.ts'
import { openDatabaseSource } from './database-source.ts'
import { withoutVersions, type App } from './define-app.ts'
import { resolveOptions, type StartOptions } from './options.ts'

/** Options of the plugin: those of `start` (host and port are the host's), and the app. */
export interface GatewayPluginOptions extends Omit<StartOptions, 'host' | 'port'> {
  readonly app: App
}

/**
 * A Fastify plugin that starts the app with the server and stops it with it. Its routes, body parser and error handler stay inside its
 * scope; the host's are not touched.
 */
export async function gateway(server: FastifyInstance, { app, ...options }: GatewayPluginOptions): Promise<void> {
  const resolved = resolveOptions(options)
  const log = pino({ level: resolved.logLevel, base: { app: app.name } }, pino.destination({ dest: 2, sync: true }))
  const source = await openDatabaseSource(resolved, (line) => log.info({}, line), patienceMsIn(server))
  const backend = await startBackend(app, source.url, resolved, log).catch(async (error: unknown) => {
    await source.stop().catch(() => undefined)
    throw error
  })
  const stopping = new AbortController()
  server.addHook('preClose', (done) => {
    stopping.abort()
    done()
  })
  // A connection that outlives its last answer would hold up the host's close until its client lets go of it.
  server.addHook('onSend', (request, reply, _payload, done) => {
    if (stopping.signal.aborted && request.raw.httpVersionMajor === 1) void reply.header('connection', 'close')
    done()
  })
  server.addHook('onClose', async () => {
    try {
      await backend.stop()
    } finally {
      await source.stop()
    }
  })
  await server.register(
    gatewayPlugin({
      contracts: app.contracts,
      sides: app.stateless,
      withoutVersions: withoutVersions(app),
      ports: backend.ports,
      crash: backend.crash,
      accepting: () => !stopping.signal.aborted,
      stopping: stopping.signal,
      openapi: () =>
        openapiDocument({
          title: app.name,
          version: '1',
          contracts: app.contracts,
          withoutVersions: withoutVersions(app),
          prefix: server.prefix,
        }),
    }),
  )
}

/** Fastify gives a plugin 10 s and then says no more than that: what stands in the way of the start has to be said before. */
function patienceMsIn({ initialConfig }: FastifyInstance): number | undefined {
  const timeoutMs = initialConfig.pluginTimeout ?? 0
  return timeoutMs === 0 ? undefined : Math.min(10_000, timeoutMs * 0.8)
}
