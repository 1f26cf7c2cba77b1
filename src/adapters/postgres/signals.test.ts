import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../../test/e2e/program.ts'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { proxyTo, type Proxy } from '../../../test/support/proxy.ts'
import { Signals } from './signals.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
let own: TestDatabase
let proxy: Proxy
let here: Signals
let there: Signals

beforeAll(async () => {
  own = await testDatabase()
  proxy = await proxyTo(own.url)
  here = new Signals({ url: own.url, log: quiet, hasPeers: () => true })
  there = new Signals({ url: proxy.url, log: quiet, hasPeers: () => true })
  await Promise.all([here.start(), there.start()])
})
afterAll(async () => {
  await Promise.all([here.stop(), there.stop()])
  await proxy.close()
  await own.drop()
})

function counted(signals: Signals, channel: 'event' | 'command'): { count: number; readonly stop: () => void } {
  const counter = { count: 0, stop: signals.listen(channel, () => void (counter.count += 1)) }
  return counter
}

test('a ring is heard here at once and once, and in other processes soon, many rings as one', async () => {
  const [own_, other, unrelated] = [counted(here, 'event'), counted(there, 'event'), counted(there, 'command')]
  for (let rings = 0; rings < 50; rings += 1) here.ring('event')
  expect(own_.count).toBe(50)
  await until('the other one hears it', () => other.count > 0, 2000)
  there.ring('command')
  await until('everything sent has arrived', () => unrelated.count > 0, 2000)
  expect([own_.count, other.count < 10]).toEqual([50, true])
  for (const counter of [own_, other, unrelated]) counter.stop()
})

test('after a lost connection everybody is rung, because something may have been missed', async () => {
  const missed = counted(there, 'event')
  await proxy.cut()
  here.ring('event')
  await proxy.restore()
  await until('the bells ring after the reconnect', () => missed.count > 0, 5000)
  const heard = missed.count
  here.ring('event')
  await until('and it hears again', () => missed.count > heard, 2000)
  missed.stop()
})
