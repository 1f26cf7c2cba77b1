// The shop: all of its components, and three requests to try first.
import { join } from 'node:path'
import { defineApp } from 'twofold'
import { fileMailer } from './notifications/file-mailer.ts'
import { notifications } from './notifications/notifications.ts'
import { ordersStateful } from './orders/stateful.ts'
import { ordersStateless } from './orders/stateless.ts'
import { sellerStats } from './reporting/seller-stats.ts'
import { walletsStateful } from './wallets/stateful.ts'
import { walletsStateless } from './wallets/stateless.ts'

const mailer = fileMailer(process.env['MAIL_FILE'] ?? join(process.env['TWOFOLD_DATA_DIR'] ?? '.twofold', 'mails.jsonl'))
const line = { sellerId: 'anna', productId: 'teapot', quantity: 2, priceCents: 1950 }

export const shop = defineApp(
  'shop',
  [ordersStateful, ordersStateless, walletsStateful, walletsStateless, sellerStats, notifications({ mailer })],
  {
    examples: [
      { method: 'POST', path: '/orders', body: { customerId: 'carl', lines: [line] } },
      { method: 'POST', path: '/wallets/carl/deposits', body: { amountCents: 5000 } },
      { method: 'GET', path: '/sellers/anna/stats' },
    ],
  },
)
