// Sends orders, follows each to its outcome, and looks at the end whether the shop has what it says it has.
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { eachAtOnce } from './at-once.ts'
import type { Instances } from './instances.ts'
import { Latency } from './measure.ts'
import type { ReplayedOrder } from './read-orders.ts'

export interface SendOptions {
  /** How many orders are under way at once. */
  readonly concurrency: number
  /** Orders per second; undefined: as fast as the concurrency allows. With a rate, latency counts from when an order was due. */
  readonly rate: number | undefined
  readonly progress: (done: number) => void
  /** How long after the last order was accepted outcomes are waited for. Default 60,000. */
  readonly outcomeMs?: number
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
  /** Accepted, and no outcome within the bound; or said to be placed, and not there. */
  lost: number
  /** Changed by more than the one command that placed them. */
  duplicated: number
  /** Why each order that was not accepted was not. */
  readonly refused: string[]
  /** Orders that the shop says it has. */
  readonly placed: ReplayedOrder[]
  readonly accept: Latency
  readonly effect: Latency
  /** When the last order was accepted, by `performance.now()`. */
  acceptedAt: number
  seconds: number
}

export async function sendOrders(shop: Instances, orders: readonly ReplayedOrder[], options: SendOptions): Promise<Sent> {
  const { rate, concurrency, progress, outcomeMs = 60_000 } = options
  const startedAt = performance.now()
  const sent = nothingSent()
  let done = 0
  await eachAtOnce(orders, concurrency, async (order, at) => {
    const dueAt = rate === undefined ? performance.now() : startedAt + (at * 1000) / rate
    if (dueAt > performance.now()) await sleep(dueAt - performance.now())
    await sendOne(shop, order, dueAt, sent, outcomeMs)
    progress((done += 1))
  })
  sent.seconds = (performance.now() - startedAt) / 1000
  return sent
}

/**
 * Reads every order that is said to be placed, and counts those that are not there (lost) and those that were changed more than once
 * (duplicated): an order that is only placed and never cancelled has version 1.
 */
export async function checkPlaced(shop: Instances, sent: Sent, concurrency: number): Promise<void> {
  await eachAtOnce(sent.placed, concurrency, async ({ orderId }) => {
    const stored = await shop.request(`/orders/${encodeURIComponent(orderId)}`)
    if (stored.status !== 200) sent.lost += 1
    else if (stored.body['version'] !== 1) sent.duplicated += 1
  })
}

async function sendOne(shop: Instances, order: ReplayedOrder, dueAt: number, sent: Sent, outcomeMs: number): Promise<void> {
  sent.sent += 1
  // The key is the same at every instance, every retry and every replay: however often this is sent, it is one order.
  const headers = { 'content-type': 'application/json', 'idempotency-key': keyOf(order) }
  const answer = await shop.request('/orders', { method: 'POST', headers, body: JSON.stringify(order) })
  if (answer.status !== 202) {
    sent.refused.push(`${order.orderId}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return
  }
  sent.accepted += 1
  sent.acceptedAt = performance.now()
  sent.accept.record(sent.acceptedAt - dueAt)
  if (answer.headers['idempotency-replayed'] === 'true') sent.replayed += 1
  const outcome = await outcomeOf(shop, answer.headers.location ?? '', sent, outcomeMs)
  if (outcome === undefined) {
    sent.lost += 1
    return
  }
  sent.effect.record(performance.now() - dueAt)
  const alreadyPlaced = (outcome['rejection'] as { code?: string } | undefined)?.code === 'alreadyPlaced'
  if (outcome['status'] === 'succeeded') sent.succeeded += 1
  else if (outcome['status'] === 'dead') sent.dead += 1
  else sent.rejected += 1
  if (alreadyPlaced) sent.alreadyPlaced += 1
  if (alreadyPlaced || outcome['status'] === 'succeeded') sent.placed.push(order)
}

/** A hash of the id: a header has no room for every id, and takes neither quotes nor letters beyond ASCII. */
function keyOf({ orderId }: ReplayedOrder): string {
  return `"replay-${createHash('sha256').update(orderId).digest('hex')}"`
}

async function outcomeOf(
  shop: Instances,
  location: string,
  sent: Sent,
  outcomeMs: number,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  while (performance.now() < sent.acceptedAt + outcomeMs) {
    const { status, body } = await shop.request(`${location}?wait=10`)
    if (status !== 200) return undefined
    if (body['status'] !== 'queued' && body['status'] !== 'running') return body
  }
  return undefined
}

/** What `sendOrders` counts up from. */
export function nothingSent(): Sent {
  return {
    sent: 0,
    accepted: 0,
    replayed: 0,
    succeeded: 0,
    rejected: 0,
    alreadyPlaced: 0,
    dead: 0,
    lost: 0,
    duplicated: 0,
    refused: [],
    placed: [],
    accept: new Latency(),
    effect: new Latency(),
    acceptedAt: 0,
    seconds: 0,
  }
}
