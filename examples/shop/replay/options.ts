// The command line of the replay.
import { parseArgs } from 'node:util'

export interface ReplayOptions {
  readonly orders: string | undefined
  readonly urls: readonly string[]
  readonly rate: number | undefined
  readonly concurrency: number
  readonly seed: number
  readonly sample: number
  readonly limit: number | undefined
  readonly patience: number
  /** Only the usage is wanted. */
  readonly help: boolean
}

export const USAGE = `usage: npm run replay -- [options]

plays orders into a running shop and compares every seller's figures with the sums of what was sent;
for 0 differences the shop must not have seen other orders

  --orders FILE.csv   order items: order_id, product_id, seller_id, price (default: a sample made from --seed)
  --url URL           where the shop is; several times for several instances (default http://127.0.0.1:3000)
  --rate N            orders per second, also written 200/s (default: as fast as --concurrency allows)
  --concurrency N     orders under way at once (default 64)
  --patience N        seconds that figures which differ are asked for again (default 30)
  --limit N           only the first N orders
  --sample N          how many orders the sample has (default 500)
  --seed N            another sample (default 1)
`

/** What was asked for, or the fault of the command line. */
export function parseOptions(args: readonly string[]): ReplayOptions | { readonly fault: string } {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        orders: { type: 'string' },
        url: { type: 'string', multiple: true },
        rate: { type: 'string' },
        concurrency: { type: 'string' },
        patience: { type: 'string' },
        limit: { type: 'string' },
        sample: { type: 'string' },
        seed: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    const urls = (values.url ?? ['http://127.0.0.1:3000']).map((url) => url.replace(/\/+$/, ''))
    const wrong = urls.find((url) => !/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
    if (wrong !== undefined) return { fault: `--url '${wrong}' is not an address such as http://127.0.0.1:3000` }
    return {
      orders: values.orders,
      urls,
      rate: positive('rate', values.rate?.replace(/\/s$/, '')),
      concurrency: positive('concurrency', values.concurrency) ?? 64,
      patience: positive('patience', values.patience) ?? 30,
      limit: positive('limit', values.limit),
      sample: positive('sample', values.sample) ?? 500,
      seed: positive('seed', values.seed) ?? 1,
      help: values.help,
    }
  } catch (error) {
    return { fault: error instanceof Error ? error.message : String(error) }
  }
}

function positive(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`--${name} is '${text}'; it must be a whole number from 1`)
  return Number(text)
}
