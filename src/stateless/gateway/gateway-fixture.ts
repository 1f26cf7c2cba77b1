// What the gateway's tests share: a small contract, and ports that keep everything in memory and can be told to fail.
import { Writable } from 'node:stream'
import fastify, { type FastifyInstance } from 'fastify'
import * as z from 'zod'
import { command, rejection } from '../../contract/command.ts'
import { defineContract } from '../../contract/define-contract.ts'
import { entity } from '../../contract/entity.ts'
import type { Envelope } from '../../contract/envelope.ts'
import { query } from '../../contract/query.ts'
import { TwofoldError } from '../../errors.ts'
import type { Admission } from '../../ports/admission.ts'
import type { Appended, CommandLogFeatures, LogEntry, StoredAnswer, StoredClaim } from '../../ports/command-log.ts'
import type { DirectCarrier } from '../../ports/direct-carrier.ts'
import type { StoredEntity } from '../../ports/entities.ts'
import type { PendingCommand, StoredOutcome } from '../../ports/outcomes.ts'
import type { ConsistencyToken } from '../../ports/projections.ts'
import { stateless, type AnyStateless } from '../stateless.ts'
import type { GatewayOptions, GatewayPorts } from './options.ts'
import { gatewayPlugin } from './plugin.ts'
import { gatewayServerOptions } from './server-options.ts'

const balance = z.object({ balanceCents: z.int() })

export const wallets = defineContract('wallets', {
  commands: {
    deposit: command({
      route: 'POST /wallets/:walletId/deposits',
      input: z.object({ walletId: z.string(), amountCents: z.int().positive() }),
      key: (deposit) => deposit.walletId,
      reply: balance,
    }),
    transfer: command({
      route: 'POST /transfers',
      input: z.object({ from: z.string(), to: z.string(), amountCents: z.int().positive() }),
      key: (transfer) => [transfer.from, transfer.to],
      reply: balance,
      rejections: { insufficientFunds: rejection(balance), unknownWallet: rejection(undefined, { status: 404 }) },
    }),
    closeWallet: command({ input: z.object({ walletId: z.string() }), key: (close) => close.walletId }),
    closeWallets: command({
      input: z.object({ walletIds: z.array(z.string()) }),
      key: (close) => close.walletIds,
      respond: 'accepted',
    }),
    openWallet: command({
      input: z.object({ owner: z.string(), note: z.string().optional() }),
      key: (_, { commandId }) => commandId,
      rejections: { closedForToday: rejection(z.object({ until: z.string() }), { status: 403 }) },
      optimistic: z.object({ walletId: z.string(), openedAt: z.string() }),
      respond: 'accepted',
    }),
  },
  queries: {
    wallet: query({ route: 'GET /wallets/:walletId', input: z.object({ walletId: z.string() }), output: balance }),
    standing: query({
      input: z.object({ walletIds: z.array(z.string()), ranked: z.boolean().default(false) }),
      output: z.object({ balances: z.array(z.int()) }),
    }),
    richest: query({ input: z.object({ limit: z.int().positive().default(10) }), output: z.object({ wallets: z.array(z.string()) }) }),
  },
})

export const walletEntity = entity(wallets, {
  initial: () => ({ balanceCents: 0, secret: '' }),
  upgrades: [(old: { cents: number }) => ({ balanceCents: old.cents, secret: 'lifted' })],
})

/** The stateless side of `wallets`. The check of `openWallet` refuses by what the owner is called. */
export const walletsSide = stateless(wallets, {
  checks: {
    openWallet({ owner }, { invalid, reject }) {
      if (owner === 'nobody') invalid('/owner', 'nobody has no wallet')
      if (owner === 'late') reject.closedForToday({ until: '08:00', staff: 'secret' } as { until: string })
      if (owner === 'broken') throw new Error('the secret of the check')
    },
  },
  optimistic: {
    openWallet: (_, { key, now }) => ({ walletId: key, openedAt: now.toISOString(), secret: 1 }),
  },
  queries: {
    async wallet({ walletId }, { read, notFound }) {
      const found = await read(walletEntity, walletId)
      return found ? found.state : notFound(`there is no wallet '${walletId}'`)
    },
    async standing({ walletIds, ranked }, { read, db }) {
      const found = await Promise.all(walletIds.map((walletId) => read(walletEntity, walletId)))
      if (ranked) await db.query('select rank from richest')
      return { balances: found.map((wallet) => wallet?.state.balanceCents ?? 0) }
    },
    async richest({ limit }, { db }) {
      const { rows } = await db.query<{ name: string }>('select name from richest limit $1', [limit])
      return { wallets: rows.map(({ name }) => name) }
    },
  },
})

/** Ports in memory. What the log holds takes effect when a test calls `finish`. */
export class FakePorts implements GatewayPorts {
  readonly entries: LogEntry[] = []
  readonly claims = new Map<string, StoredClaim>()
  readonly finished = new Map<string, StoredOutcome>()
  readonly states = new Map<string, StoredEntity>()
  readonly waits: number[] = []
  readonly claimsAskedFor: string[] = []
  pendingCommand: PendingCommand['status'] = 'queued'
  logFails: unknown
  admission: Admission | undefined
  outcomesFail: unknown
  caughtUp = true
  readonly tokens: ConsistencyToken[] = []
  direct: DirectCarrier | undefined
  /** What becomes of a command as soon as it is in the log. */
  onAppended: ((envelope: Envelope) => void) | undefined
  readonly #waiters = new Map<string, Set<() => void>>()
  #minted = 0

  readonly ids = {
    next: () => `019c0000-0000-7000-8000-${(this.#minted += 1).toString(16).padStart(12, '0')}`,
    now: () => 0x019c0000_0000,
  }

  readonly log = {
    name: 'fake',
    features: { order: 'per-key', claimsWithAppend: true, findsById: true } as CommandLogFeatures,
    append: async (entry: LogEntry): Promise<Appended> => {
      if (this.logFails !== undefined) throw this.logFails
      const { id, claim } = entry.envelope
      const used = claim && this.claims.get(claim.hash)
      if (used) return { status: 'claimed', claim: used }
      if (claim) this.claims.set(claim.hash, { commandId: id, fingerprint: claim.fingerprint, answer: entry.answer })
      this.entries.push(entry)
      this.onAppended?.(entry.envelope)
      return { status: 'appended' }
    },
  }

  readonly outcomes = {
    find: async (id: string, timeoutMs: number, signal?: AbortSignal): Promise<StoredOutcome | undefined> => {
      if (this.outcomesFail !== undefined) throw this.outcomesFail
      const found = this.finished.get(id)
      if (found || timeoutMs === 0) return found
      this.waits.push(timeoutMs)
      const waiters = this.#waiters.get(id) ?? new Set()
      this.#waiters.set(id, waiters)
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(resolve, timeoutMs)
        waiters.add(resolve)
        signal?.addEventListener('abort', () => {
          clearTimeout(timer)
          reject(signal.reason as Error)
        })
      })
      return this.finished.get(id)
    },
    pending: async (id: string): Promise<PendingCommand | undefined> => {
      const known = !this.finished.has(id) && this.entries.some(({ envelope }) => envelope.id === id)
      return known ? { id, status: this.pendingCommand, attempts: this.pendingCommand === 'queued' ? 0 : 2 } : undefined
    },
    claim: async (hash: string): Promise<StoredClaim | undefined> => {
      this.claimsAskedFor.push(hash)
      return this.claims.get(hash)
    },
    answered: async (hash: string, commandId: string, answer: StoredAnswer): Promise<boolean> => {
      if (this.outcomesFail !== undefined) throw this.outcomesFail
      const claim = this.claims.get(hash)
      if (claim?.commandId !== commandId || claim.answer || this.finished.has(commandId)) return false
      this.claims.set(hash, { ...claim, answer })
      return true
    },
  }

  readonly entities = {
    read: async (service: string, key: string): Promise<StoredEntity | undefined> => this.states.get(`${service}/${key}`),
  }

  readonly database = {
    query: async <Row>(): Promise<{ rows: Row[]; rowCount: number }> => ({ rows: [{ name: 'ada' }] as Row[], rowCount: 1 }),
    transaction: async (): Promise<never> => {
      throw new Error('no transaction is expected here')
    },
  }

  readonly progress = {
    caughtUp: async (_service: string, token: ConsistencyToken): Promise<boolean> => {
      this.tokens.push(token)
      return this.caughtUp
    },
  }

  /** Stores an outcome and wakes who waits for it. */
  finish(id: string, outcome: Partial<StoredOutcome>): StoredOutcome {
    const base = { id, service: 'wallets', command: 'deposit', status: 'succeeded', code: undefined, body: undefined } as const
    const stored = { ...base, version: 3, partition: 12, eventSeq: 345, finishedAt: new Date('2026-01-02T03:04:05Z'), ...outcome }
    this.finished.set(id, stored)
    for (const wake of this.#waiters.get(id) ?? []) wake()
    return stored
  }
}

/** A gateway in a server of our own over fake ports, with what it logged. */
export async function gatewayOf(
  options: Partial<GatewayOptions> & { prefix?: string } = {},
): Promise<{ server: FastifyInstance; ports: FakePorts; logged: () => string; [Symbol.asyncDispose]: () => Promise<void> }> {
  const ports = new FakePorts()
  const lines: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    },
  })
  const server = fastify({ ...gatewayServerOptions(), logger: { level: 'warn', stream } })
  const { prefix = '', ...rest } = options
  await server.register(
    gatewayPlugin({ contracts: [wallets], sides: [walletsSide as unknown as AnyStateless], ports, unknownPaths: true, ...rest }),
    { prefix },
  )
  return { server, ports, logged: () => lines.join(''), [Symbol.asyncDispose]: () => server.close() }
}

/** What the log throws while PostgreSQL is away. */
export function unavailable(): TwofoldError {
  return new TwofoldError('UNAVAILABLE', 'the command log cannot be reached', { retryAfterSeconds: 2 })
}

/** Resolves once `holds`, checked after every turn of the event loop; rejects after 5 s. */
export async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`it never came true: ${String(holds)}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
