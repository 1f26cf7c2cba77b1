// Cases in which what carries the commands ends in the middle of the work, and comes back with what it had stored.
import { deepEqual, equal } from 'node:assert/strict'
import type { ConformanceBroker, ConformanceSubject } from './carrier-conformance.ts'
import { isLog, type Case } from './case.ts'
import { eventually } from './eventually.ts'
import { onStage, type Stage } from './stage.ts'

/** A broker takes seconds to start, and should have the machine to itself meanwhile. */
const EVERY_MS = 40

/** Why nothing can be said of a restart. */
function unrestarted({ features, broker }: Pick<ConformanceSubject, 'features' | 'broker'>): string | undefined {
  if (!isLog(features) && !features.durable) return 'what it holds ends with it (`features.durable` is false)'
  return broker === undefined ? 'it cannot be restarted from here (`broker` is not given)' : undefined
}

function onBroker(check: (stage: Stage, broker: ConformanceBroker) => Promise<void>): Case['check'] {
  return onStage(async (stage, _, broker) => {
    if (broker === undefined) return
    try {
      await check(stage, broker)
    } catch (error) {
      // The next case needs it.
      await broker.start().catch(() => undefined)
      throw error
    }
  })
}

export const lossCases: readonly Case[] = [
  {
    name: 'a broker that is killed under load loses, doubles and reorders nothing; while it is away commands are refused',
    topic: 'broker restart',
    saysNothing: unrestarted,
    check: onBroker(async (stage, broker) => {
      const app = await stage.start()
      const loads = stage.loads(() => app, EVERY_MS)
      await stage.goOn(loads)
      await broker.end('killed')
      await eventually('commands are refused', async () => (await stage.send(app, 'accounts/tell', 'nobody', 1)).status === 503)
      await broker.start()
      await stage.goOn(loads)
      await stage.holds(loads, app)
    }),
  },
  {
    name: 'with `log` commands are taken all the while a broker is restarted, and run in order',
    topic: 'broker restart',
    saysNothing: (subject) =>
      isLog(subject.features)
        ? 'the log takes what a broker cannot, and has nobody behind it itself (`features.claimsWithAppend`: it is PostgreSQL)'
        : unrestarted(subject),
    check: onBroker(async (stage, broker) => {
      const app = await stage.start({ whenAway: 'log' })
      const loads = stage.loads(() => app, EVERY_MS)
      await stage.goOn(loads)
      await broker.end('in order')
      // Not one of theirs: what was under way may wait for its confirmation, as long as it is worth waiting for.
      equal((await stage.send(app, 'accounts/tell', 'somebody', 1)).status, 202)
      await broker.start()
      await stage.goOn(loads)
      deepEqual(await stage.ask(app, 'somebody', 2), [1, 2])
      for (const { account, refused } of loads) equal(refused, 0, `'${account}' was refused ${refused} times`)
      await stage.holds(loads, app)
    }),
  },
]
