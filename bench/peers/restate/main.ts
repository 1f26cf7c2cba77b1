// Restate: a virtual object for each account, called through the ingress with an idempotency key. See README.md.
import { createServer } from 'node:http2'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { endpoint, object, type ObjectContext } from '@restatedev/restate-sdk'
import { connect, rpc } from '@restatedev/restate-sdk-clients'
import { freePort } from '../free-port.ts'
import { startServer } from '../own-server.ts'
import { runPeer, type Peer } from '../peer.ts'
import type { Found } from '../tables.ts'

interface Balance {
  readonly cents: number
  readonly version: number
}

const account = object({
  name: 'account',
  handlers: {
    async credit(context: ObjectContext, { id }: { readonly id: string }): Promise<Balance> {
      const { cents, version } = (await context.get<Balance>('balance')) ?? { cents: 0, version: 0 }
      const balance = { cents: cents + 1, version: version + 1 }
      context.set('balance', balance)
      // The outbox: whoever publishes events takes them from here.
      context.set(`event:${id}`, { name: context.key, cents: 1 })
      return balance
    },
  },
})

await runPeer({
  lacks: 'state in SQL; event by hand; batches',
  async start({ concurrency, scratch }): Promise<Peer> {
    const [ingress, admin, node] = [await freePort(), await freePort(), await freePort()]
    const adminUrl = `http://127.0.0.1:${admin}`
    const ingressUrl = `http://127.0.0.1:${ingress}`
    const server = await startServer(serverProgram(), ['--no-logo', '--listen-mode', 'tcp'], {
      cwd: scratch,
      env: {
        RESTATE_BASE_DIR: scratch,
        RESTATE_BIND_IP: '127.0.0.1',
        RESTATE_BIND_PORT: String(node),
        RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
        RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
        RESTATE_DEFAULT_NUM_PARTITIONS: String(concurrency),
        RESTATE_DISABLE_TELEMETRY: 'true',
        RESTATE_LOG_FILTER: 'warn',
      },
      ready: async () => {
        await ask(`${adminUrl}/health`)
        await ask(`${ingressUrl}/restate/health`)
      },
    })
    const service = createServer(
      endpoint()
        .bind(account)
        .setLogger(() => undefined)
        .http2Handler(),
    ).listen(0, '127.0.0.1')
    await once(service, 'listening')
    await ask(`${adminUrl}/deployments`, { uri: `http://127.0.0.1:${(service.address() as AddressInfo).port}` })
    const client = connect({ url: ingressUrl })
    return {
      async credit({ id, account: key }) {
        await client.objectClient(account, key).credit({ id }, rpc.opts({ idempotencyKey: id }))
      },
      found: () => foundInState(adminUrl),
      async stop() {
        service.close()
        await server.stop()
      },
    }
  },
})

/** The binary of the package for this machine: its own launcher is a process more, which hands on no signal. */
function serverProgram(): string {
  return fileURLToPath(import.meta.resolve(`@restatedev/restate-server-${process.platform}-${process.arch}/bin/restate-server`))
}

/** Restate's own SQL over the states of all objects. */
async function foundInState(adminUrl: string): Promise<Found> {
  const rows = async <Row>(query: string): Promise<readonly Row[]> => ((await ask(`${adminUrl}/query`, { query })) as { rows: Row[] }).rows
  const balances = await rows<{ value_utf8: string }>(`select value_utf8 from state where service_name = 'account' and key = 'balance'`)
  const states = balances.map(({ value_utf8: text }) => JSON.parse(text) as Balance)
  const events = await rows<{ events: number; different: number }>(
    `select count(*) as events, count(distinct key) as different from state where service_name = 'account' and key like 'event:%'`,
  )
  return {
    cents: states.reduce((sum, { cents }) => sum + cents, 0),
    versions: states.reduce((sum, { version }) => sum + version, 0),
    events: events[0]?.events ?? 0,
    distinctEvents: events[0]?.different ?? 0,
  }
}

/** A GET, or with a body a POST. */
async function ask(url: string, body?: object): Promise<unknown> {
  const headers = { 'content-type': 'application/json', accept: 'application/json' }
  const response = await fetch(url, body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}
