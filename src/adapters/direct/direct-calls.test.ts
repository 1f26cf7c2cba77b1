import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { within } from '../../../test/support/within.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'
import { callsTo, closeAll, closing, Engine, envelope, finished, keyIn, open, said, SECRET } from './calls-fixture.ts'
import { PENDING_MAX } from './wire.ts'

afterEach(closeAll)

const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

test('a call comes back with what the owner has committed, with its deadline and trace context carried on', async () => {
  const engine = new Engine()
  const { calls } = callsTo([await open('owner', engine)])
  const given = {
    ...envelope('ä\n"\t'),
    traceparent: TRACEPARENT,
    condition: { kind: 'versions', versions: [1] } as never,
    input: '{"text":"a\\nb"}',
  }
  expect(calls.reaches(given)).toBe(true)
  const result = await calls.call(given, undefined, { waitMs: 5000 })
  expect(result).toEqual(finished(given))
  expect(engine.called[0]?.envelope).toEqual(given)
  expect(engine.called[0]?.context?.waitMs).toBeGreaterThan(0)
  expect(engine.called[0]?.context?.waitMs).toBeLessThanOrEqual(5001)
})

test('a slow command holds up nobody: results come in the order in which commands finish', async () => {
  const engine = new Engine()
  const slow = Promise.withResolvers<DirectResult>()
  engine.answer = (given) => (given.keys[0] === 'slow' ? slow.promise : finished(given))
  const { calls } = callsTo([await open('owner', engine)])
  const first = envelope('slow')
  const order: string[] = []
  const waiting = calls.call(first).then(() => order.push('slow'))
  await Promise.all(Array.from({ length: 100 }, async (_, at) => calls.call(envelope(`quick-${at}`)).then(() => order.push('quick'))))
  slow.resolve(finished(first))
  await waiting
  expect(order).toEqual([...Array.from({ length: 100 }, () => 'quick'), 'slow'])
})

test('whoever is called by mistake says who owns the key, and the caller goes there', async () => {
  const [former, owner] = [new Engine(), new Engine()]
  former.holds = () => false
  const opened = [await open('former', former, { ownerOf: () => 'owner' }), await open('owner', owner)]
  const { calls, directory } = callsTo(opened)
  const key = keyIn(1)
  expect(await calls.call(envelope(key))).toMatchObject({ status: 'finished' })
  expect([former.called.length, owner.called.length]).toEqual([0, 1])
  // And remembers it.
  expect(directory.ownerOf(1)?.id).toBe('owner')
})

test('two that point at each other are asked a bounded number of times, then the log takes the command', async () => {
  const [one, other] = [new Engine(), new Engine()]
  one.holds = other.holds = () => false
  let asked = 0
  const ownerOf = (id: string) => () => {
    asked += 1
    return id
  }
  const { calls } = callsTo([
    await open('one', one, { ownerOf: ownerOf('other') }),
    await open('other', other, { ownerOf: ownerOf('one') }),
  ])
  expect(await calls.call(envelope('a'))).toEqual({ status: 'deferred', begun: false })
  expect(asked).toBe(3)
})

test('between two owners the command goes to the log', async () => {
  const engine = new Engine()
  engine.holds = () => false
  const { calls } = callsTo([await open('former', engine)])
  expect(await calls.call(envelope('a'))).toEqual({ status: 'deferred', begun: false })
})

test('another secret is refused before any command is sent, and said in words that help', async () => {
  const engine = new Engine()
  const { calls } = callsTo([await open('owner', engine, { secret: 'the secret of somebody else' })])
  said.length = 0
  expect(await calls.call(envelope('a'))).toEqual({ status: 'deferred', begun: false })
  expect(engine.called).toEqual([])
  expect(said.join('\n')).toContain('TWOFOLD_SECRET must be the same')
  expect(said.join('\n')).toContain('does not know the secret')
})

test('without the secret nothing is served, whatever is asked for', async () => {
  const engine = new Engine()
  const { address } = await open('owner', engine)
  const headers = { 'twofold-instance': 'owner' }
  for (const authorization of [undefined, '', 'Bearer', `Bearer ${SECRET}`, 'Basic eDp5']) {
    const answer = await fetch(`${address}/twofold/direct/2`, {
      method: 'POST',
      headers: authorization === undefined ? headers : { ...headers, authorization },
      body: `C\t{"id":"x","service":"ledger","command":"note","keys":["a"]}\t{}\n`,
    })
    expect([answer.status, await answer.text()]).toEqual([401, ''])
  }
  expect((await fetch(address)).status).toBe(401)
  expect(engine.called).toEqual([])
})

test('an address that another instance has by now gets no command', async () => {
  const engine = new Engine()
  const { address } = await open('newcomer', engine)
  const { calls } = callsTo([{ id: 'gone', address }])
  expect(await calls.call(envelope('a'))).toEqual({ status: 'deferred', begun: false })
  expect(engine.called).toEqual([])
})

test('when the owner ends, what it had may have begun, and is sent to the log', async () => {
  const engine = new Engine()
  const got = Promise.withResolvers<void>()
  engine.answer = () => {
    got.resolve()
    return new Promise(() => undefined)
  }
  const { door, ...owner } = await open('owner', engine)
  const { calls } = callsTo([owner])
  const call = calls.call(envelope('a'))
  await got.promise
  await door.stop()
  expect(await call).toEqual({ status: 'deferred', begun: true })
})

test('a slow command on a connection that was idle before is waited for', { timeout: 20_000 }, async () => {
  const engine = new Engine()
  const { calls } = callsTo([await open('owner', engine)])
  expect(await calls.call(envelope(keyIn(0)))).toMatchObject({ status: 'finished' })
  // Longer than a silent owner is waited for.
  await new Promise((resolve) => setTimeout(resolve, 2500))
  const slow = envelope(keyIn(0))
  engine.answer = (given) => new Promise((resolve) => setTimeout(() => resolve(finished(given)), 800))
  expect(await calls.call(slow)).toEqual(finished(slow))
})

test('an owner that is silent is not waited for', async () => {
  // Takes everything and says nothing after the head of its answer, as a process does that was stopped.
  const silent: Server = createServer((request, response) => {
    request.resume()
    response.writeHead(200).flushHeaders()
  })
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  closing.push(async () => {
    silent.closeAllConnections()
    silent.close()
  })
  const { calls } = callsTo([{ id: 'silent', address: `http://127.0.0.1:${(silent.address() as AddressInfo).port}` }])
  expect(await within('the call is given up', calls.call(envelope('a')), 15_000)).toEqual({ status: 'deferred', begun: true })
})

test('an owner whose lease has ended is not waited for', async () => {
  const engine = new Engine()
  const got = Promise.withResolvers<void>()
  engine.answer = () => {
    got.resolve()
    return new Promise(() => undefined)
  }
  const { calls, change } = callsTo([await open('owner', engine)])
  const call = calls.call(envelope('a'))
  await got.promise
  change({ instances: [], partitions: [] })
  expect(await call).toEqual({ status: 'deferred', begun: true })
  expect(calls.reaches(envelope('a'))).toBe(false)
})

test('an owner that cannot be connected to is tried once, and left alone for a while', async () => {
  const { door, ...owner } = await open('owner', new Engine())
  await door.stop()
  const { calls } = callsTo([owner])
  said.length = 0
  for (let at = 0; at < 20; at += 1) expect(await calls.call(envelope('a'))).toEqual({ status: 'deferred', begun: false })
  expect(calls.reaches(envelope('a'))).toBe(false)
  expect(said.filter((line) => line.startsWith('lost the connection')).length).toBe(1)
})

test('whoever stops waiting takes the command back', async () => {
  const engine = new Engine()
  const got = Promise.withResolvers<void>()
  engine.answer = () => {
    got.resolve()
    return new Promise(() => undefined)
  }
  const { calls } = callsTo([await open('owner', engine)])
  const waiting = new AbortController()
  const call = calls.call(envelope('a'), waiting.signal)
  await got.promise
  waiting.abort(new Error('the client is gone'))
  await expect(call).rejects.toThrow('the client is gone')
  await expect.poll(() => engine.called[0]?.signal?.aborted, { timeout: 10_000 }).toBe(true)
})

test('a command that comes after its deadline is left alone', async () => {
  const engine = new Engine()
  const { calls } = callsTo([await open('owner', engine)])
  expect(await calls.call(envelope('a'), undefined, { waitMs: -1000 })).toMatchObject({ status: 'deferred' })
  expect(engine.called).toEqual([])
})

test('more than an owner may owe one caller goes to the log', { timeout: 60_000 }, async () => {
  const engine = new Engine()
  const results: ((result: DirectResult) => void)[] = []
  engine.answer = () => new Promise((resolve) => results.push(resolve))
  const { calls } = callsTo([await open('owner', engine)])
  const all = Array.from({ length: PENDING_MAX }, () => calls.call(envelope('a')))
  expect(calls.reaches(envelope('a'))).toBe(false)
  expect(await calls.call(envelope('a'))).toEqual({ status: 'deferred', begun: false })
  await expect.poll(() => results.length, { timeout: 30_000 }).toBe(PENDING_MAX)
  for (const resolve of results) resolve({ status: 'held' })
  expect(new Set((await Promise.all(all)).map(({ status }) => status))).toEqual(new Set(['held']))
})

test('a line without end ends its connection', { timeout: 60_000 }, async () => {
  const { address } = await open('owner', new Engine())
  const { credential } = await import('./wire.ts')
  const socket = connect(Number(new URL(address).port), '127.0.0.1')
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', () => undefined).resume()
  socket.write(
    `POST /twofold/direct/2 HTTP/1.1\r\nhost: x\r\nauthorization: ${credential(SECRET)}\r\ntwofold-instance: owner\r\ncontent-length: 100000000\r\n\r\n`,
  )
  const piece = Buffer.alloc(1024 * 1024, 'x')
  for (let at = 0; at < 6; at += 1) socket.write(piece)
  await closed
})
