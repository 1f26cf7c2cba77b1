// Wrong contracts.
import { command, defineContract, event, query } from 'twofold'
import * as v from 'valibot'
import { z } from 'zod'

const input = z.object({ walletId: z.string() })

// the key names a field that is none
// expect TS2551: Property 'walletID' does not exist | Did you mean 'walletId'?
command({ input, key: (given) => given.walletID })

// the key is a number
// expect TS2322: Type 'number' is not assignable to type 'string
command({ input: z.object({ walletId: z.int() }), key: (given) => given.walletId })

// a route parameter that is no field
// expect TS2322: route parameter :walletID is not a field of the input
command({ route: 'POST /wallets/:walletID/deposits', input, key: (given) => given.walletId })

// a route without a method, and with the wrong one
// expect TS2322: a command's route reads 'POST /path/:field'
command({ route: '/wallets', input, key: (given) => given.walletId })
// expect TS2322: a query's route reads 'GET /path/:field'
query({ route: 'POST /wallets/:walletId', input, output: z.object({}) })

// an input that is not JSON
// expect TS2322: input must be plain JSON, but at.from is a Date
command({ input: z.object({ walletId: z.string(), at: z.object({ from: z.date() }) }), key: (given) => given.walletId })

// an input that changes its type
// expect TS2322: the schema must accept its own output
command({ input: z.object({ walletId: z.string(), n: z.string().transform(Number) }), key: (given) => given.walletId })

// a schema that cannot describe itself
// expect TS2322: Property 'jsonSchema' is missing
command({ input: v.object({ walletId: v.string() }), key: (given) => given.walletId })

// a command and a query of one name
const wallet = command({ input, key: (given) => given.walletId })
// expect TS2375: 'wallet' is a command already
export const twice = defineContract('twice', { commands: { wallet }, queries: { wallet: query({ input, output: input }) } })

// a lift that makes another shape
// expect TS2322: Type 'string' is not assignable to type 'number'
event(z.object({ a: z.string() })).next(z.object({ a: z.string(), b: z.int() }), (old) => ({ a: old.a, b: old.a }))
