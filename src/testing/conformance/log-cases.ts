// What is asked of a carrier's port, asked of PostgreSQL's log: it is no carrier behind that port, so it is asked as a whole. Commands are
// appended, a lane takes them, and what is looked at is the effects that were committed.
import { deepEqual, equal, ok } from 'node:assert/strict'
import { isTwofoldError } from '../../errors.ts'
import type { Case } from './case.ts'
import { eventually } from './eventually.ts'
import type { Sender } from './sender.ts'
import { onStage, range } from './stage.ts'

/** What the gateway takes of a body. */
const BODY_BYTES_MAX = 1024 * 1024

async function publishAll(sender: Sender, account: string, numbers: readonly number[]): Promise<void> {
  await Promise.all(numbers.map((number) => sender.publish(account, number)))
}

export const inOrder: Case['check'] = onStage(async (stage) => {
  const app = await stage.start()
  const sender = await stage.sender()
  await publishAll(sender, 'a', range(500))
  deepEqual(await stage.ask(app, 'a', 501), range(501))
})

/** The second batch fails before it is stored, the answer to the commit of a later one is lost, and another owner does the rest. */
export const again: Case['check'] = onStage(async (stage) => {
  const first = await stage.start({ crash: 'engine.commit:2:throw,engine.commit-sent:4:drop' })
  const sender = await stage.sender()
  for (let batch = 0; batch < 5; batch += 1) {
    const numbers = range(batch * 10 + 10, batch * 10 + 1)
    await publishAll(sender, 'a', numbers)
    await eventually('they run', () => stage.runsOf('a', numbers).every((runs) => runs > 0))
  }
  await stage.stop(first)
  await publishAll(sender, 'a', range(60, 51))
  const second = await stage.start()
  deepEqual(await stage.ask(second, 'a', 61), range(61))
  deepEqual(new Set(stage.runsOf('a', range(10))), new Set([1]), 'what is done does not come again')
  ok(
    stage.runsOf('a', range(20, 11)).every((runs) => runs > 1),
    'what is not done does',
  )
})

/** Commands of one key fail, those of another one in the same partition are done meanwhile; then the owner leaves. */
export const outOfTurn: Case['check'] = onStage(async (stage) => {
  const first = await stage.start()
  const sender = await stage.sender()
  const partition = sender.partitionOf('a')
  const other = range(1000)
    .map((at) => `b${at}`)
    .find((account) => sender.partitionOf(account) === partition) as string
  stage.failing.add('a')
  for (const number of range(20)) await Promise.all([sender.publish('a', number), sender.publish(other, number)])
  deepEqual(await stage.ask(first, other, 21), range(21))
  await stage.stop(first)
  stage.failing.clear()
  const second = await stage.start()
  deepEqual(await stage.ask(second, 'a', 21), range(21))
  deepEqual(await stage.ask(second, other, 22), range(22))
  deepEqual(new Set(stage.runsOf(other, range(20))), new Set([1]), 'what is done does not come again')
})

export const twoOwners: Case['check'] = onStage(async (stage) => {
  const first = await stage.start()
  const second = await stage.start()
  const sender = await stage.sender()
  await publishAll(sender, 'a', range(50))
  await eventually('the first has begun', () => stage.ran.length > 0)
  const rest = publishAll(sender, 'a', range(100, 51))
  await stage.stop(first)
  await rest
  deepEqual(await stage.ask(second, 'a', 101), range(101))
  deepEqual(new Set(stage.runsOf('a', range(100))), new Set([1]), 'each was run by one of them')
})

/** The log brings none: whoever asks is told by the outcome. */
export const outcomes: Case['check'] = onStage(async (stage) => {
  const app = await stage.start()
  const told = range(50).map(async (number) => {
    const { status, headers } = await stage.send(app, 'accounts/tell', `account-${number}`, number)
    equal(status, 202)
    const outcome = await fetch(`${app.url}${headers.get('location')}?wait=20`)
    return ((await outcome.json()) as { reply?: { numbers: number[] } }).reply?.numbers
  })
  deepEqual(
    await Promise.all(told),
    range(50).map((number) => [number]),
  )
})

export const away: Case['check'] = onStage(async (stage, ground) => {
  const app = await stage.start()
  const sender = await stage.sender()
  await publishAll(sender, 'a', range(20))
  await ground.cut()
  await eventually('it is seen to be away', async () => {
    const failure = await sender.publish('a', 99).catch((error: unknown) => error)
    return isTwofoldError(failure, 'UNAVAILABLE')
  })
  await ground.restore()
  await eventually('it takes commands again', () =>
    sender.publish('a', 21).then(
      () => true,
      () => false,
    ),
  )
  await sender.publish('a', 22)
  deepEqual(await stage.ask(app, 'a', 23), range(23))
})

export const sizes: Case['check'] = onStage(async (stage) => {
  const app = await stage.start()
  const ballast = (bytes: number): string => 'x'.repeat(bytes - JSON.stringify({ account: 'a', number: 1, ballast: '' }).length)
  equal((await stage.send(app, 'accounts/tell', 'a', 1, { ballast: ballast(BODY_BYTES_MAX) })).status, 202)
  equal((await stage.send(app, 'accounts/tell', 'a', 2, { ballast: ballast(BODY_BYTES_MAX + 1) })).status, 413)
  await stage.tell(app, 'a', [3])
  deepEqual(await stage.ask(app, 'a', 4), [1, 3, 4])
})

export const bounded: Case['check'] = onStage(async (stage) => {
  const taker = await stage.start({ roles: ['stateless'], waitingCommandsMax: 100 })
  let taken = 0
  for (;;) {
    const answer = await stage.send(taker, 'accounts/tell', 'a', taken + 1)
    if (answer.status !== 202) {
      equal(answer.status, 429)
      equal(((await answer.json()) as { code: string }).code, 'BACKLOG_FULL')
      break
    }
    taken += 1
    ok(taken <= 100, 'more are taken than may wait')
  }
  await eventually('they are counted', async () => (await stage.waiting()) === taken)
  await stage.stop(taker)
  const app = await stage.start()
  deepEqual(await stage.ask(app, 'a', taken + 1), range(taken + 1))
})

export const drained: Case['check'] = onStage(async (stage) => {
  const sender = await stage.sender()
  const published = publishAll(sender, 'a', range(200))
  await sender.close()
  await published
  const app = await stage.start()
  deepEqual(await stage.ask(app, 'a', 201), range(201))
})

/** The answer to an append is lost, and the answer to a commit; then whole connections, while what is sent is under way. */
export const steps: Case['check'] = onStage(async (stage, ground) => {
  const app = await stage.start({ crash: 'accept.append-sent:12:drop,engine.commit-sent:12:drop' })
  const loads = stage.loads(() => app)
  await stage.goOn(loads, 20)
  ok(
    loads.some(({ refused }) => refused > 0),
    'whoever waited for the lost answer was told',
  )
  await ground.cut()
  await ground.restore()
  await stage.goOn(loads)
  await stage.holds(loads, app)
})
