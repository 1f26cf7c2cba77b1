// `npm run replay`: real orders into a running shop, then the reconciliation. Exit code 1 when something differs, 2 for a wrong command line.
import { Instances } from './instances.ts'
import { parseOptions, USAGE, type ReplayOptions } from './options.ts'
import { showProgress } from './progress.ts'
import { readOrders, type ReplayedOrder } from './read-orders.ts'
import { reconcile, sumsOf } from './reconcile.ts'
import { differencesOf, isClean, tableOf } from './report.ts'
import { sampleOrders } from './sample-orders.ts'
import { checkPlaced, sendOrders } from './send-orders.ts'

const options = parseOptions(process.argv.slice(2))
if ('fault' in options) {
  process.stderr.write(`${options.fault}\n\n${USAGE}`)
  process.exit(2)
}
if (options.help) {
  process.stdout.write(USAGE)
  process.exit()
}
try {
  process.exitCode = (await replay(options)) ? 0 : 1
} catch (error) {
  process.stderr.write(`replay: ${error instanceof Error ? error.message : String(error)}\n`)
  // At once: orders that are under way may go on for a minute, and nobody looks at what becomes of them.
  process.exit(1)
}

async function replay(given: ReplayOptions): Promise<boolean> {
  const orders = await ordersOf(given)
  await checkReady(given.urls)
  const shop = new Instances(given.urls)
  const progress = showProgress(orders.length, process.stderr)
  const sent = await sendOrders(shop, orders, { ...given, progress: (done) => progress.update(done) }).finally(() => progress.stop())
  await checkPlaced(shop, sent, given.concurrency)
  process.stdout.write(`\n${tableOf(sent)}\n\n`)
  const waiting = (count: number): void =>
    void process.stderr.write(`  ${count} figures differ; asking again for up to ${given.patience} s, because a read model may lag\n`)
  const differences = await reconcile(shop, orders, { patienceMs: given.patience * 1000, waiting })
  process.stdout.write(`${differencesOf(differences, sumsOf(orders).size)}\n`)
  return isClean(sent, differences)
}

async function ordersOf({ orders, sample, seed, limit }: ReplayOptions): Promise<ReplayedOrder[]> {
  if (orders === undefined) return sampleOrders(sample, seed).slice(0, limit)
  return (await readOrders(orders)).slice(0, limit)
}

async function checkReady(urls: readonly string[]): Promise<void> {
  for (const url of urls) {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5000) }).catch(() => undefined)
    if (answer?.status !== 200)
      throw new Error(`no shop is ready at ${url}: start it with \`npm start\`, or name another address with --url`)
  }
}
