// Tells customers that their order has arrived. How a mail is sent is for the app to say.
import { reactor, type Reactor } from 'twofold'
import { orders } from '../orders/contract.ts'

export interface Mail {
  readonly to: string
  readonly subject: string
  /** The event's id: a mail server that has seen it drops the second copy. */
  readonly messageId: string
}

export interface Mailer {
  send(mail: Mail): Promise<void>
}

export function notifications({ mailer }: { mailer: Mailer }): Reactor {
  return reactor('notifications', {
    from: { orders },
    start: 'beginning',
    on: {
      orders: {
        async orderPlaced({ id, data }) {
          await mailer.send({
            to: data.customerId,
            subject: `Your order ${data.orderId}: ${(data.totalCents / 100).toFixed(2)}`,
            messageId: id,
          })
        },
      },
    },
  })
}
