// Programs that must compile, and types that must be just so. Compiled with everything else by `npm run types`.
import {
  command,
  createClient,
  defineContract,
  entity,
  rejection,
  stateful,
  statefulSql,
  type Accepted,
  type Outcome,
  type Rejected,
  type Succeeded,
} from 'twofold'
import { z } from 'zod'
import { orders } from '../../examples/shop/orders/contract.ts'
import { orderEntity } from '../../examples/shop/orders/order.ts'
import { wallets } from '../../examples/shop/wallets/contract.ts'

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <T extends true>(): T => true as T

const cancelOrder = (): undefined => undefined

// A reply keeps its literal in every way to write it.
export const oneReturn = stateful(orders, {
  entity: orderEntity,
  handlers: { cancelOrder, placeOrder: (_, _input, { key: orderId }) => ({ orderId, status: 'pending' }) },
})
export const afterReject = stateful(orders, {
  entity: orderEntity,
  handlers: {
    cancelOrder,
    placeOrder(order, _, { key: orderId, reject }) {
      if (order.status !== 'none') return reject.alreadyPlaced()
      return { orderId, status: 'pending' }
    },
  },
})
export const statementReject = stateful(orders, {
  entity: orderEntity,
  handlers: {
    cancelOrder,
    placeOrder(order, _, { key: orderId, reject }) {
      if (order.status !== 'none') reject.alreadyPlaced()
      return { orderId, status: 'pending' }
    },
  },
})
export const throwReject = stateful(orders, {
  entity: orderEntity,
  handlers: {
    cancelOrder,
    placeOrder(order, _, { key: orderId, reject }) {
      if (order.status !== 'none') throw reject.alreadyPlaced() as Error
      return { orderId, status: 'pending' }
    },
  },
})

// A tuple of keys gives a tuple of states; a list of keys gives a list.
const pairs = defineContract('pairs', {
  commands: {
    join: command({ input: z.object({ a: z.string(), b: z.string() }), key: (given) => [given.a, given.b] }),
    either: command({
      input: z.object({ ids: z.array(z.string()) }),
      key: ({ ids }): string | string[] => (ids[1] === undefined ? (ids[0] ?? '') : ids),
    }),
    merge: command({ input: z.object({ all: z.array(z.string()) }), key: (given) => given.all }),
    limit: command({
      input: z.object({ id: z.string(), max: z.int().default(10) }),
      key: (given) => given.id,
      rejections: { over: rejection() },
    }),
  },
})
interface Pair {
  n: number
}
export const states = stateful(pairs, {
  entity: entity(pairs, { initial: (): Pair => ({ n: 0 }) }),
  handlers: {
    // Where it is one key or a list, the handler has to tell which it got.
    either(state) {
      holds<Equals<typeof state, Pair | Pair[]>>()
    },
    join([a, b]) {
      holds<Equals<[typeof a, typeof b], [Pair, Pair]>>()
    },
    merge(all) {
      holds<Equals<(typeof all)[number], Pair>>()
    },
    limit(_, input) {
      // Handlers see defaults filled in, callers may leave them out.
      holds<Equals<typeof input, { id: string; max: number }>>()
    },
  },
})

export async function calls(signal: AbortSignal | undefined): Promise<void> {
  const { transfer, deposit } = createClient(wallets, { url: '' })
  type Balance = { balanceCents: number }
  type Moved = Outcome<Balance, { insufficientFunds: Balance; sameWallet: undefined }>

  // No rejections in the contract: nothing to narrow. An undefined signal may be passed on.
  const deposited = await deposit({ walletId: 'a', amountCents: 1 }, { signal })
  holds<Equals<typeof deposited, Succeeded<Balance>>>()
  console.log(deposited.reply.balanceCents)

  // `respond` decides the result's type, against the contract's default.
  const moved = await transfer({ from: 'a', to: 'b', amountCents: 1 })
  holds<Equals<typeof moved, Moved>>()
  const later = await transfer({ from: 'a', to: 'b', amountCents: 1 }, { respond: 'accepted' })
  type Rejections = { insufficientFunds: Balance; sameWallet: undefined }
  holds<Equals<typeof later, Accepted<undefined, Balance, Rejections> | Rejected<Rejections>>>()
  // A check may have said no: what is left is accepted, with what is expected of it unless the outcome is known.
  const placed = await createClient(orders, { url: '' }).placeOrder({ customerId: 'c', lines: [] })
  if (placed.status === 'accepted') console.log(placed.optimistic?.totalCents, await placed.outcome())
  // No rejections in the contract: nothing to narrow here either.
  const queued = await deposit({ walletId: 'a', amountCents: 1 }, { respond: 'accepted' })
  holds<Equals<(typeof queued)['status'], 'accepted'>>()
  const limit = createClient(pairs, { url: '' }).limit({ id: 'a' })
  holds<Equals<Awaited<typeof limit>['status'], 'succeeded' | 'rejected'>>()
}

// SQL handlers are typed as tightly: the reply keeps its literal, and the input has its defaults.
export const sqlOrders = statefulSql(orders, {
  handlers: {
    async cancelOrder() {},
    async placeOrder({ lines }, { key: orderId, keys, tx, signal, reject }) {
      holds<Equals<typeof keys, readonly string[]>>()
      holds<Equals<typeof signal, AbortSignal>>()
      const { rows } = await tx.query<{ n: number }>('select count(*)::int as n from orders where id = $1', [orderId])
      if (rows[0]?.n === lines.length) return reject.alreadyPlaced()
      return { orderId, status: 'pending' }
    },
  },
})
export const sqlPairs = statefulSql(pairs, {
  handlers: {
    async join(input) {
      holds<Equals<typeof input, { a: string; b: string }>>()
    },
    async merge() {},
    async either() {},
    async limit(input, { reject }) {
      holds<Equals<typeof input, { id: string; max: number }>>()
      if (input.max > 100) return reject.over()
    },
  },
})
