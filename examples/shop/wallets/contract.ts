// What can be said to the wallets.
import { command, defineContract, event, query, rejection } from 'twofold'
import { z } from 'zod'

const walletId = z.string().min(1).max(100)
const amountCents = z.int().positive().max(1_000_000_000)
const balance = z.object({ balanceCents: z.int() })

export const wallets = defineContract('wallets', {
  commands: {
    deposit: command({
      route: 'POST /wallets/:walletId/deposits',
      input: z.object({ walletId, amountCents }),
      key: (deposit) => deposit.walletId,
      reply: balance,
    }),
    transfer: command({
      route: 'POST /transfers',
      input: z.object({ from: walletId, to: walletId, amountCents }),
      key: (transfer) => [transfer.from, transfer.to], // both change together or neither does
      reply: balance,
      rejections: { insufficientFunds: rejection(balance), sameWallet: rejection() },
    }),
  },
  queries: {
    wallet: query({ route: 'GET /wallets/:walletId', input: z.object({ walletId }), output: balance }),
  },
  events: {
    moneyMoved: event(z.object({ from: z.string().nullable(), to: z.string(), amountCents: z.int() })),
  },
})
