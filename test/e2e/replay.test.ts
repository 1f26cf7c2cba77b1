import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { addressOf, startProgram, until, type Program } from './program.ts'

// Two sellers in one order, one product bought twice, a price that no binary fraction hits, and an id that neither a header nor a path
// takes as it stands.
const ODD_ID = '漢字"é'
const FILE = `order_id,order_item_id,product_id,seller_id,price,freight_value
o1,1,p1,s1,58.9,13.29
o1,2,p2,s2,0.29,1.00
"漢字""é",1,p1,s1,1.10,1.00
"漢字""é",2,p1,s1,1.10,1.00
o3,1,p3,s3,199,17.87
`

let folder: string
let database: TestDatabase
let shop: Program
const replays: Program[] = []
let url: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twofold-replay-'))
  database = await testDatabase()
  await writeFile(join(folder, 'orders.csv'), FILE)
  const environment = { DATABASE_URL: database.url, PORT: '0', LOG_LEVEL: 'error', TWOFOLD_DATA_DIR: folder }
  shop = startProgram('examples/shop/main.ts', environment)
  url = await addressOf(shop)
})
afterAll(async () => {
  await Promise.all(replays.map((program) => program.end('SIGKILL')))
  await shop.end('SIGTERM')
  await database.drop()
  await rm(folder, { recursive: true, force: true })
})

async function replay(...args: string[]): Promise<{ code: unknown; output: string }> {
  const program = startProgram('examples/shop/replay/main.ts', {}, args)
  replays.push(program)
  return { code: await program.ended(60_000), output: program.output() }
}

const post = (path: string, body: object): Promise<Response> =>
  fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json', prefer: 'wait=10' }, body: JSON.stringify(body) })

test('a file is replayed, replayed again without effect, and differences are told with exit code 1', { timeout: 200_000 }, async () => {
  // This one is in the shop before its replay: it is refused as placed already, and the sums hold all the same.
  const lines = [{ sellerId: 's3', productId: 'p3', quantity: 1, priceCents: 19_900 }]
  expect((await post('/orders', { orderId: 'o3', customerId: 'c', lines })).status).toBe(200)
  const args = ['--orders', join(folder, 'orders.csv'), '--url', url]

  const first = await replay(...args)
  expect(first.code, first.output).toBe(0)
  expect(first.output).toMatch(
    /sent +3\n +accepted +3\n +succeeded +2\n +rejected +1 \(1 placed already\)\n +dead +0\n +lost +0\n +duplicated +0\n/,
  )
  expect(first.output).toContain('reconciliation of 3 sellers: 0 differences')
  expect(await (await fetch(`${url}/sellers/s1/stats`)).json()).toEqual({ sellerId: 's1', orders: 2, items: 3, revenueCents: 6110 })

  const second = await replay(...args, '--rate', '200/s', '--concurrency', '2')
  expect(second.code, second.output).toBe(0)
  expect(second.output).toMatch(/accepted +3 \(3 known already\)/)
  expect(second.output).toContain('0 differences')

  expect((await post(`/orders/${encodeURIComponent(ODD_ID)}/cancel`, {})).status).toBe(204)
  const third = await replay(...args, '--patience', '1')
  expect(third.code, third.output).toBe(1)
  expect(third.output).toMatch(/duplicated +1\n/)
  expect(third.output).toContain('reconciliation of 3 sellers: 3 differences\n')
  expect(third.output).toContain('seller s1: revenueCents is 5890, should be 6110')

  const subjects = async (): Promise<string[]> =>
    (await readFile(join(folder, 'mails.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((mail) => (JSON.parse(mail) as { subject: string }).subject)
      .toSorted()
  await until('each order has its mail', async () => (await subjects()).length >= 3)
  expect(await subjects(), 'and only one').toEqual(['Your order o1: 59.19', 'Your order o3: 199.00', `Your order ${ODD_ID}: 2.20`])
})

test('without a file it makes a sample, the same for the same seed', { timeout: 130_000 }, async () => {
  const sample = ['--sample', '20', '--seed', '7', '--url', url]
  expect(await replay(...sample)).toMatchObject({ code: 0, output: expect.stringMatching(/succeeded +20\n/) })
  expect(await replay(...sample)).toMatchObject({ code: 0, output: expect.stringMatching(/accepted +20 \(20 known already\)\n/) })
})

test(
  'what stands in the way is one sentence and exit code 1; a wrong command line shows the right one and exits with 2',
  { timeout: 130_000 },
  async () => {
    expect(await replay('--orders', 'no-such.csv', '--url', url)).toEqual({ code: 1, output: 'replay: there is no file no-such.csv\n' })
    const away = 'replay: no shop is ready at http://127.0.0.1:9: start it with `npm start`, or name another address with --url\n'
    expect(await replay('--url', 'http://127.0.0.1:9')).toEqual({ code: 1, output: away })
    const wrong = await replay('--colour', 'red')
    expect(wrong.code).toBe(2)
    expect(wrong.output).toMatch(/^Unknown option '--colour'[^]*\nusage: npm run replay -- \[options\]\n/)
  },
)
