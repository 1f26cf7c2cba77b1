// The code that docs/guides shows. Compiled with the examples; a test looks whether the pages show it as it is.
import { command, createClient, defineContract, entity, rejection, stateful } from 'twofold'
import { z } from 'zod'

// region contract
export const payments = defineContract('payments', {
  retentionHours: 72, // a repeated request gets its first answer for at least three days
  commands: {
    deposit: command({
      input: z.object({ accountId: z.string(), amountCents: z.int().positive() }),
      key: ({ accountId }) => accountId,
    }),
    pay: command({
      input: z.object({ accountId: z.string(), amountCents: z.int().positive() }),
      key: ({ accountId }) => accountId,
      reply: z.object({ balanceCents: z.int() }),
      rejections: { insufficientFunds: rejection() },
      idempotency: 'required', // 400 without an Idempotency-Key
      retry: { attempts: 8, minMs: 200, maxMs: 30_000, deadlineMs: 600_000 },
      afterDeath: 'park', // what comes after a payment that died waits for a person
    }),
  },
})
// endregion

export const paymentsStateful = stateful(payments, {
  entity: entity(payments, { initial: () => ({ balanceCents: 0 }) }),
  handlers: {
    deposit(account, { amountCents }) {
      account.balanceCents += amountCents
    },
    // region handler
    pay(account, { amountCents }, { reject }) {
      if (account.balanceCents < amountCents) return reject.insufficientFunds() // an outcome: never tried again
      account.balanceCents -= amountCents
      return { balanceCents: account.balanceCents }
    },
    // endregion
  },
})

// region client
export async function payOnce(url: string, accountId: string, invoiceId: string): Promise<number | undefined> {
  const client = createClient(payments, { url })
  const paid = await client.pay({ accountId, amountCents: 500 }, { idempotencyKey: `invoice-${invoiceId}` })
  return paid.status === 'succeeded' ? paid.reply.balanceCents : undefined
}
// endregion
