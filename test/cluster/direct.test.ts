// Stateless and stateful processes apart: `result` commands go straight to the owner of their key, whatever happens to it.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../e2e/program.ts'
import { proxyTo } from '../support/proxy.ts'
import type { Ledger, Node } from './ledger.ts'
import { openLedger } from './open-ledger.ts'

const LEASE_MS = 1500
const CALLS = 1000
const CLIENTS = 25

let ledger: Ledger

beforeEach(async () => {
  ledger = await openLedger(LEASE_MS)
})
afterEach(() => ledger.close())

/** How a call ended: with its result, with 202, or in a doubt that names the command. */
interface Ended {
  readonly account: string
  readonly number: number
  readonly status: number
  readonly commandId: string
  readonly tookMs: number
}

const stateful = (): Promise<Node> => ledger.start({ ROLES: 'stateful' })
const stateless = (): Promise<Node> => ledger.start({ ROLES: 'stateless' })

/** So many commands were ever appended to the log. */
async function logged(): Promise<number> {
  return Number((await ledger.client.query('select last_value from twofold._command_seq')).rows[0].last_value)
}

/** A stateless process knows all owners once it does without the log. */
function untilCalled(gateway: Node): Promise<void> {
  let round = 0
  return until(`${gateway.id} calls every owner`, async () => {
    const before = await logged()
    round += 1
    const warm = Array.from({ length: 40 }, (_, at) => ledger.send(gateway, 'note', { account: `warm-${round}-${at}`, number: 1 }))
    const answers = await Promise.all(warm)
    return answers.every(({ status }) => status === 204) && (await logged()) === before
  })
}

/** Sends so many numbers to each account, one after the other; every other client does not want to wait for long. */
async function callAll(gateway: Node, onEnded: (done: number) => void = () => undefined): Promise<Ended[]> {
  const ended: Ended[] = []
  const client = async (at: number): Promise<void> => {
    const account = `account-${at}`
    for (let number = 1; number <= CALLS / CLIENTS; number += 1) {
      const headers: Record<string, string> = at % 2 === 0 ? {} : { prefer: 'wait=1' }
      const begunAt = performance.now()
      const answered = await ledger.send(gateway, 'note', { account, number }, headers)
      ended.push({ account, number, ...answered, tookMs: performance.now() - begunAt })
      onEnded(ended.length)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, at) => client(at)))
  return ended
}

/** Each call ended with its result, or named a command whose end can be asked for; each had its effect once, in the order of its client. */
async function expectAllOnce(gateway: Node, ended: readonly Ended[]): Promise<void> {
  for (const { status, commandId } of ended) {
    expect([204, 202, 503, 504]).toContain(status)
    expect(commandId).toMatch(/^[0-9a-f-]{36}$/)
  }
  const open = ended.filter(({ status }) => status !== 204)
  for (const { commandId } of open) expect(await fate(gateway, commandId), commandId).toBe('succeeded')
  expect(new Set(ended.map(({ commandId }) => commandId)).size).toBe(CALLS)
  await until('nothing waits', async () => (await ledger.count('waiting')) + (await ledger.count('parked')) === 0, 60_000)
  const states = await ledger.states()
  for (let at = 0; at < CLIENTS; at += 1) {
    const state = states[`account-${at}`]
    expect(state?.numbers).toEqual(Array.from({ length: CALLS / CLIENTS }, (_, number) => number + 1))
    expect(state?.version).toBe(CALLS / CLIENTS)
  }
  const events = await ledger.client.query(`select count(*)::int as events from twofold.event where key like 'account-%'`)
  expect(events.rows[0].events).toBe(CALLS)
}

/** What `GET /commands/{id}` says in the end. */
async function fate({ address }: Node, commandId: string): Promise<string> {
  const answer = await fetch(`${address}/commands/${commandId}?wait=30`)
  return answer.status === 200 ? ((await answer.json()) as { status: string }).status : String(answer.status)
}

/** Where the other instances reach it. */
async function internalAddress({ id }: Node): Promise<string> {
  return (await ledger.client.query('select address from twofold.instance where id = $1', [id])).rows[0].address as string
}

test('two owners share the calls of a stateless process, and none of them goes through the log', { timeout: 90_000 }, async () => {
  const owners = [await stateful(), await stateful()]
  const gateway = await stateless()
  await ledger.untilShared(...owners)
  await untilCalled(gateway)
  const before = await logged()
  const ended = await callAll(gateway)
  expect(new Set(ended.map(({ status }) => status))).toEqual(new Set([204]))
  expect(await logged()).toBe(before)
  const ran = await ledger.client
    .query(`select p.owner, count(*)::int as commands from twofold._outcome join twofold.partition p using (partition)
    group by p.owner having count(*) > 100`)
  expect(ran.rows.map(({ owner }) => owner as string).toSorted()).toEqual(owners.map(({ id }) => id).toSorted())
  await expectAllOnce(gateway, ended)
})

test.each(['SIGKILL', 'SIGSTOP'] as const)(
  'an owner that gets %s in the middle of 1,000 calls leaves no call in doubt, and every effect is there once',
  { timeout: 120_000 },
  async (signal) => {
    const owners = [await stateful(), await stateful()]
    const gateway = await stateless()
    await ledger.untilShared(...owners)
    await untilCalled(gateway)
    const [lost] = owners as [Node]
    const theirs = new Set(await ledger.accountsOf(lost, CLIENTS))
    const ended = await callAll(gateway, (done) => void (done === CALLS / 4 && lost.program.child.kill(signal)))
    await until('the other owns all', async () => (await ledger.shares(lost))[0] === 0)
    // What it had in hand comes back with it, and must change nothing.
    lost.program.child.kill('SIGCONT')
    await expectAllOnce(gateway, ended)
    // Its partitions had no owner until its lease was over. Where no call had to wait for that, nothing was shown.
    const touched = ended.filter(({ account, tookMs }) => theirs.has(account) && tookMs > LEASE_MS / 3)
    console.log(`${signal}: ${CALLS} calls, of which ${touched.length} met an owner that was gone`)
    expect(touched.length).toBeGreaterThan(0)
  },
)

test('partitions that move in the middle of calls cost no call its result', { timeout: 120_000 }, async () => {
  const first = await stateful()
  const gateway = await stateless()
  await until('all is owned', async () => (await ledger.shares(first))[0] === 64)
  await untilCalled(gateway)
  const ended: Omit<Ended, 'tookMs'>[] = []
  const over = new AbortController()
  const comesAndGoes = async (): Promise<void> => {
    const second = await stateful()
    await ledger.untilShared(first, second)
    expect(await second.program.end('SIGTERM')).toBe(0)
  }
  const moves = comesAndGoes().finally(() => over.abort())
  // As long as it takes to be under way while it comes and goes.
  while (!over.signal.aborted) {
    const round = ended.length / CLIENTS
    const numbers = await Promise.all(
      Array.from({ length: CLIENTS }, async (_, at) => {
        const sent = { account: `account-${at}`, number: round + 1 }
        return { ...sent, ...(await ledger.send(gateway, 'note', sent)) }
      }),
    )
    ended.push(...numbers)
  }
  await moves
  expect(new Set(ended.map(({ status }) => status))).toEqual(new Set([204]))
  const states = await ledger.states()
  const rounds = Array.from({ length: ended.length / CLIENTS }, (_, round) => round + 1)
  for (let at = 0; at < CLIENTS; at += 1) expect(states[`account-${at}`]?.numbers).toEqual(rounds)
})

test('a connection that breaks in the middle of 1,000 calls doubles none and loses none', { timeout: 120_000 }, async () => {
  const owner = await stateful()
  const proxy = await proxyTo(await internalAddress(owner))
  try {
    await ledger.client.query('update twofold._instance set address = $1', [proxy.url.replace(/\/$/, '')])
    const gateway = await stateless()
    await until('all is owned', async () => (await ledger.shares(owner))[0] === 64)
    await untilCalled(gateway)
    let cuts = Promise.resolve()
    const ended = await callAll(gateway, (done) => {
      if (done % 200 === 100) cuts = cuts.then(() => proxy.cut()).then(() => proxy.restore())
    })
    await cuts
    // Some were under way when it broke.
    await gateway.program.printed(/"pending":[1-9][^\n]*lost the connection to another instance/)
    await expectAllOnce(gateway, ended)
  } finally {
    await proxy.close()
  }
})

test(
  'the port for calls is not the public one, and whoever has another secret is refused: its commands take the log',
  { timeout: 60_000 },
  async () => {
    const owner = await stateful()
    const stranger = await ledger.start({ ROLES: 'stateless', TWOFOLD_SECRET: 'not the secret of this app' })
    await until('all is owned', async () => (await ledger.shares(owner))[0] === 64)
    const before = await logged()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) => ledger.send(stranger, 'note', { account: `a-${at}`, number: 1 })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204]))
    expect(await logged()).toBeGreaterThan(before)
    await stranger.program.printed(/TWOFOLD_SECRET must be the same/)
    await owner.program.printed(/does not know the secret/)

    const address = await internalAddress(owner)
    expect(new URL(address).port).not.toBe(new URL(owner.address).port)
    const call = { method: 'POST', body: '{}', headers: { 'twofold-instance': owner.id } }
    expect((await fetch(`${address}/twofold/direct/2`, call)).status).toBe(401)
    expect((await fetch(`${address}/ledger/note`, call)).status).toBe(401)
    expect((await fetch(`${owner.address}/twofold/direct/2`, call)).status).toBe(404)
  },
)
