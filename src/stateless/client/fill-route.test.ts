import { expect, test } from 'vitest'
import * as z from 'zod'
import { command } from '../../contract/command.ts'
import { defineContract } from '../../contract/define-contract.ts'
import { createClient } from './create-client.ts'

const orders = defineContract('orders', {
  commands: {
    cancel: command({
      route: 'POST /orders/:orderId/cancel',
      input: z.object({ orderId: z.union([z.string(), z.int(), z.boolean()]), why: z.string().optional() }),
      key: (given) => String(given.orderId),
    }),
  },
})

const requested: string[] = []
const send = (url: string, init: RequestInit): Promise<Response> => {
  requested.push(`${init.method} ${new URL(url).pathname} ${init.body as string}`)
  return Promise.resolve(new Response(null, { status: 204 }))
}
const { cancel } = createClient(orders, { url: 'http://orders.test/api', fetch: send as typeof fetch })

test.each<[unknown, string]>([
  [{}, 'missing'],
  [{ orderId: undefined }, 'missing'],
  [{ orderId: null }, 'null'],
  [{ orderId: '' }, '""'],
  [{ orderId: '.' }, '"."'],
  [{ orderId: '..' }, '".."'],
  [{ orderId: '\ud800' }, '"\\ud800"'],
  [{ orderId: { id: 'a' } }, '{"id":"a"}'],
  [{ orderId: ['a'] }, '["a"]'],
])('%j is refused before anything is sent', async (input, given) => {
  const message = `'orderId' of 'orders.cancel' is ${given}; it stands in the path, so give a number, a boolean, or a string other than '', '.' and '..'`
  const faults = [{ path: '/orderId', message }]
  await expect(cancel(input as { orderId: string })).rejects.toMatchObject({ code: 'INVALID_INPUT', message, faults })
  expect(requested).toEqual([])
})

test.each([
  ['a', 'a'],
  ['...', '...'],
  ['a/../b', 'a%2F..%2Fb'],
  ['%2e%2e', '%252e%252e'],
  ['?é#', '%3F%C3%A9%23'],
  [0, '0'],
  [false, 'false'],
])('%j goes into the path, and what is not in the path into the body', async (orderId, segment) => {
  await cancel({ orderId, why: 'late' })
  expect(requested.splice(0)).toEqual([`POST /api/orders/${segment}/cancel {"why":"late"}`])
})
