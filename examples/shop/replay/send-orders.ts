// Sends orders and follows each to its outcome.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Instances } from './instances.ts'
import { Latency } from './measure.ts'
import type { ReplayedOrder } from './read-orders.ts'

export interface SendOptions {
  /** How many orders are under way at once. */
  readonly concurrency: number
  /** Orders per second; undefined: as fast as the concurrency allows. With a rate, latency counts from when an order was due. */
  readonly rate: number | undefined
  readonly progress: (done: number) => void
}

/** What became of the orders. */
export interface Sent {
  sent: number
  accepted: number
  /** Of the accepted ones, answered from the stored answer of an earlier replay. */
  replayed: number
  succeeded: number
  rejected: number
  /** Of the rejected ones, because the order was there already. */
  alreadyPlaced: number
  dead: number
  /** Accepted, and no outcome within the bound. */
  lost: number
  /** Changed by more than the one command that placed them; counted when all are sent. */
  duplicated: number
  /** Refused; the first reasons are kept. */
  readonly refused: string[]
  readonly accept: Latency
  readonly effect: Latency
  seconds: number
}

/** How long an accepted order is waited for. */
const OUTCOME_MS = 60_000

export async function sendOrders(shop: Instances, orders: readonly ReplayedOrder[], options: SendOptions): Promise<Sent> {
  const sent: Sent = {
    sent: 0,
    accepted: 0,
    replayed: 0,
    succeeded: 0,
    rejected: 0,
    alreadyPlaced: 0,
    dead: 0,
    lost: 0,
    duplicated: 0,
    seconds: 0,
    refused: [],
    accept: new Latency(),
    effect: new Latency(),
  }
  const startedAt = performance.now()
  let next = 0
  let done = 0
  const worker = async (): Promise<void> => {
    for (let at = next++; at < orders.length; at = next++) {
      const order = orders[at]
      if (order === undefined) return
      const dueAt = options.rate === undefined ? performance.now() : startedAt + (at * 1000) / options.rate
      if (dueAt > performance.now()) await sleep(dueAt - performance.now())
      await sendOne(shop, order, dueAt, sent)
      options.progress((done += 1))
    }
  }
  await Promise.all(Array.from({ length: Math.min(options.concurrency, orders.length) }, worker))
  sent.seconds = (performance.now() - startedAt) / 1000
  return sent
}

async function sendOne(shop: Instances, order: ReplayedOrder, dueAt: number, sent: Sent): Promise<void> {
  sent.sent += 1
  const headers = { 'content-type': 'application/json', 'idempotency-key': `"replay-${order.orderId}"` }
  const answer = await shop.request('/orders', { method: 'POST', headers, body: JSON.stringify(order) })
  if (answer.status !== 202) {
    if (sent.refused.length < 10) sent.refused.push(`${order.orderId}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return
  }
  sent.accepted += 1
  sent.accept.record(performance.now() - dueAt)
  if (answer.headers.get('idempotency-replayed') === 'true') sent.replayed += 1
  const outcome = await outcomeOf(shop, answer.headers.get('location') ?? '')
  sent.effect.record(performance.now() - dueAt)
  if (outcome === undefined) sent.lost += 1
  else if (outcome['status'] === 'succeeded') sent.succeeded += 1
  else if (outcome['status'] === 'dead') sent.dead += 1
  else sent.rejected += 1
  if ((outcome?.['rejection'] as { code?: string } | undefined)?.code === 'alreadyPlaced') sent.alreadyPlaced += 1
}

/** How many orders were changed more than once: one that is only placed and never cancelled has version 1. */
export async function countDuplicates(shop: Instances, orders: readonly ReplayedOrder[], concurrency: number): Promise<number> {
  let duplicated = 0
  let next = 0
  const worker = async (): Promise<void> => {
    for (let order = orders[next++]; order !== undefined; order = orders[next++]) {
      const stored = await shop.request(`/orders/${encodeURIComponent(order.orderId)}`)
      if (stored.status === 200 && stored.body['version'] !== 1) duplicated += 1
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return duplicated
}

async function outcomeOf(shop: Instances, location: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const endsAt = performance.now() + OUTCOME_MS
  while (performance.now() < endsAt) {
    const { status, body } = await shop.request(`${location}?wait=10`)
    if (status !== 200) return undefined
    if (body['status'] !== 'queued' && body['status'] !== 'running') return body
  }
  return undefined
}
