// What a caller does about an owner that is lost: how often it sends again, what that costs, and what it says of a command it never sent.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import type { Cluster } from '../../ports/instances.ts'
import { callsTo, closeAll, closing, Engine, envelope, finished, mute, open } from './calls-fixture.ts'

afterEach(closeAll)

/** An instance that ends each connection as soon as a command comes, and says which came. */
async function ending(): Promise<{ readonly address: string; readonly got: string[] }> {
  const got: string[] = []
  const server = createServer((request, response) => {
    response.writeHead(200).flushHeaders()
    request.on('data', (piece: Buffer) => {
      const commands = piece
        .toString()
        .split('\n')
        .filter((line) => line.startsWith('C'))
      got.push(...commands)
      if (commands.length > 0) request.destroy()
    })
    request.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => new Promise((resolve) => server.close(resolve)))
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, got }
}

/** A cluster in which this instance owns everything. */
function ownedBy(id: string, address: string): Cluster {
  return {
    instances: [{ id, address, roles: ['stateful'], alive: true, leaseLeftMs: 1000 }],
    partitions: [0, 1].map((partition) => ({ partition, owner: id, epoch: '1' })),
  }
}

const NOBODY: Cluster = { instances: [], partitions: [] }

test('a call is sent again once, to whoever owns its key by then', async () => {
  const { address, got } = await ending()
  const { calls, directory, atNextLook } = callsTo([])
  // Each look finds the next owner, and each of them ends the connection.
  let owner = 0
  directory.onUpdated(() => {
    owner += 1
    atNextLook(ownedBy(`owner-${owner}`, address))
  })
  directory.update(ownedBy('owner-0', address))
  expect(await calls.call(envelope('a'))).toEqual({ status: 'deferred', begun: true })
  expect(got.length).toBe(2)
})

test('a retry that is not made costs nothing', async () => {
  const { address } = await ending()
  const engine = new Engine()
  const owner = await open('owner', engine)
  const { calls, directory, atNextLook } = callsTo([])
  // More than may be sent again in a row; but nobody owns the key by the time it could be.
  for (let round = 0; round < 25; round += 1) {
    atNextLook(NOBODY)
    directory.update(ownedBy(`gone-${round}`, address))
    expect(await calls.call(envelope('a'))).toEqual({ status: 'deferred', begun: true })
  }
  atNextLook(ownedBy('owner', owner.address))
  directory.update(ownedBy('gone', address))
  const given = envelope('a')
  expect(await calls.call(given)).toEqual(finished(given))
})

test('retries are bounded', async () => {
  const { address, got } = await ending()
  const { calls, directory, atNextLook } = callsTo([])
  const rounds = 60
  for (let round = 0; round < rounds; round += 1) {
    atNextLook(ownedBy(`next-${round}`, address))
    directory.update(ownedBy(`gone-${round}`, address))
    await calls.call(envelope('a'))
  }
  const retries = got.length - rounds
  expect(retries).toBeGreaterThanOrEqual(20)
  expect(retries).toBeLessThanOrEqual(20 + rounds / 10)
})

test('whoever stops waiting before anything was sent is told that nothing has begun', async () => {
  const { calls } = callsTo([{ id: 'mute', address: await mute() }])
  const waiting = new AbortController()
  const call = calls.call(envelope('a'), waiting.signal)
  setImmediate(() => waiting.abort(new Error('the wait is over')))
  expect(await call).toEqual({ status: 'deferred', begun: false })
  expect(await calls.call(envelope('a'), waiting.signal)).toEqual({ status: 'deferred', begun: false })
})
