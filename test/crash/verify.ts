// What must hold after any run, however a process died in it: the history of the clients against what the database holds.
import { readFileSync } from 'node:fs'
import type pg from 'pg'
import {
  checkFinished,
  checkOnce,
  checkOrder,
  checkRepeats,
  checkSum,
  checkVersions,
  type Effect,
} from '../../src/testing/check-effects.ts'
import { operationsOf } from '../../src/testing/history.ts'
import { checkLinearizable, type Model } from '../../src/testing/linearizable.ts'
import { until } from '../e2e/program.ts'
import type { Load, Told } from './load.ts'
import { tornCommands } from './stored-together.ts'

interface ChangedEvent {
  readonly id: string
  readonly data: {
    readonly op: string
    readonly changes: readonly { readonly key: string; readonly version: number; readonly by: number }[]
  }
}

/** A register: a client names the version it saw, and leads to the next one, or is told the current one. */
const register: Model<number> = {
  initial: 0,
  apply: (version, { input }) =>
    input === version ? { state: version + 1, output: { done: version + 1 } } : { state: version, output: { stale: version } },
}

const DRAIN_MS = 90_000

/** Waits until nothing is left to do: no command waits, no key is parked, read model and reactor have seen every event. */
export async function drained(database: pg.Pool, file: string): Promise<void> {
  const none = async (text: string): Promise<boolean> => (await database.query(text)).rows.length === 0
  await until('no command waits', () => none('select 1 from twofold._command union all select 1 from twofold._parked'), DRAIN_MS)
  const events = await eventsOf(database)
  const changes = events.reduce((sum, { data }) => sum + data.changes.length, 0)
  await until(
    'the read model has seen every event',
    async () =>
      Number((await database.query<{ sum: string }>('select coalesce(sum(changes), 0) as sum from sums')).rows[0]?.sum) >= changes,
    DRAIN_MS,
  )
  const ids = new Set(events.map(({ id }) => id))
  await until('the reactor has handled every event', () => new Set(linesOf(file)).size >= ids.size, DRAIN_MS)
}

/** A sentence for each partition in which something waits, and who ought to do it. */
export async function waiting(database: pg.Pool): Promise<string[]> {
  const { rows } = await database.query<Record<string, string>>(
    `select w.partition, w.what, p.owner, p.epoch, i.lease_until - clock_timestamp() as lease
      from (select partition, 'row ' || seq || ' of ' || count || ' commands, ' || (clock_timestamp() - appended_at) || ' old: ' || left(body, 300) as what
          from twofold._command
        union all select partition, 'parked ' || seq || ' of ' || key || ', attempt ' || attempts || ', due ' || due_at from twofold._parked) w
        join twofold._partition p on p.partition = w.partition left join twofold._instance i on i.id = p.owner`,
  )
  return rows.map(
    ({ partition, what, owner, epoch, lease }) => `${what} in partition ${partition} of ${owner} (epoch ${epoch}, lease ${lease})`,
  )
}

/** A sentence for everything that is not as it must be. */
export async function violations(database: pg.Pool, file: string, load: Load): Promise<string[]> {
  const events = await eventsOf(database)
  const effects = events.flatMap(({ data }) => data.changes.map(({ key, version }): Effect => ({ commandId: data.op, key, version })))
  const stored = await database.query<{ key: string; cents: number; version: number; own: number }>(
    `select key, (state ->> 'cents')::int as cents, version::int, (state ->> 'version')::int as own from twofold.entity
      union all select key, cents, version, version as own from book`,
  )
  const wallets = stored.rows.filter(({ key }) => key.startsWith('w-'))
  return [
    ...checkFinished(await finishedOf(database, load, events)),
    ...checkOnce(effects),
    ...checkVersions(effects),
    ...checkOrder(
      load.told.map(({ op, client, key }) => ({ commandId: op, client, key })),
      effects,
    ),
    ...checkSum(Object.fromEntries(wallets.map(({ key, cents }) => [key, cents])), wallets.length * 100),
    ...checkLinearizable(operationsOf(load.history.entries), register),
    ...stored.rows
      .filter(({ version, own }) => version !== own)
      .map(({ key, version, own }) => `'${key}' has version ${version} and state ${own}`),
    ...(await tornCommands(database)),
    ...(await tornEntities(database, events, stored.rows)),
    ...(await wrongOutcomes(database, load.told)),
    ...(await gaps(database)),
    ...wrongReactions(linesOf(file), events),
    ...(await otherAnswers(load)),
  ]
}

async function eventsOf(database: pg.Pool): Promise<readonly ChangedEvent[]> {
  return (await database.query<ChangedEvent>('select id, data from twofold.event order by partition, seq')).rows
}

/** Operations by what became of them. A rejection leaves nothing that names its operation, so those that were told of count as found. */
async function finishedOf(
  database: pg.Pool,
  { told, unknown }: Load,
  events: readonly ChangedEvent[],
): Promise<{ accepted: string[]; unknown: readonly string[]; finished: string[] }> {
  const dead = await database.query<{ op: string }>(`select message -> 'input' ->> 'op' as op from twofold.dead_letter`)
  const rejected = told.filter(({ status }) => status === 'rejected').map(({ op }) => op)
  return {
    accepted: told.map(({ op }) => op),
    unknown,
    finished: [...events.map(({ data }) => data.op), ...dead.rows.map(({ op }) => op), ...rejected],
  }
}

/** States against the sum of the events, and the read model against both. */
async function tornEntities(
  database: pg.Pool,
  events: readonly ChangedEvent[],
  stored: readonly { key: string; cents: number; version: number }[],
): Promise<string[]> {
  const folded = new Map<string, { cents: number; changes: number }>()
  for (const { key, by } of events.flatMap(({ data }) => data.changes)) {
    const { cents, changes } = folded.get(key) ?? { cents: 0, changes: 0 }
    folded.set(key, { cents: cents + by, changes: changes + 1 })
  }
  const sums = await database.query<{ key: string; cents: string; changes: string }>('select key, cents, changes from sums')
  const read = new Map(sums.rows.map(({ key, cents, changes }) => [key, `${cents} in ${changes}`]))
  const entities = new Map(stored.map(({ key, cents, version }) => [key, `${cents - 100} in ${version}`]))
  return [...new Set([...folded.keys(), ...read.keys(), ...entities.keys()])].flatMap((key) => {
    const fold = folded.get(key)
    const told = fold === undefined ? 'nothing' : `${fold.cents} in ${fold.changes}`
    return read.get(key) === told && entities.get(key) === told
      ? []
      : [`'${key}': events say ${told} changes, the state ${entities.get(key)}, the read model ${read.get(key)}`]
  })
}

/** Each command that a client was told of has the outcome it was told of. */
async function wrongOutcomes(database: pg.Pool, told: readonly Told[]): Promise<string[]> {
  const { rows } = await database.query<{ id: string; status: string }>('select id, status from twofold.outcome')
  const outcomes = new Map(rows.map(({ id, status }) => [id, status]))
  return told.flatMap(({ op, commandId, status }) => {
    const outcome = outcomes.get(commandId)
    return outcome === undefined || (status !== 'accepted' && outcome !== status)
      ? [`operation ${op} was told that ${commandId} is ${status}; its outcome is ${outcome}`]
      : []
  })
}

async function gaps(database: pg.Pool): Promise<string[]> {
  const { rows } = await database.query<{ partition: number }>(
    'select partition from twofold._event group by partition having max(seq) <> sum(count)',
  )
  return rows.map(({ partition }) => `the events of partition ${partition} are not numbered without gaps`)
}

/** Every event at least once, none that does not exist, and first times in the order of each key. */
function wrongReactions(lines: readonly string[], events: readonly ChangedEvent[]): string[] {
  const reacted = new Set(lines)
  const known = new Set(events.map(({ id }) => id))
  return [
    ...[...known].filter((id) => !reacted.has(id)).map((id) => `event ${id} was never handled`),
    ...[...reacted].filter((id) => !known.has(id)).map((id) => `event ${id} was handled, and is not stored`),
  ]
}

/** A repeated request is answered as the first time, byte for byte. */
async function otherAnswers(load: Load): Promise<string[]> {
  const repeats = load.told.flatMap(({ op, repeat }) => (repeat ? [{ op, ...repeat }] : [])).slice(-REPEATS)
  const told = repeats.map(async ({ op, request, answer }) => {
    const { status, body } = await load.again(request)
    return [
      { idempotencyKey: op, answer },
      { idempotencyKey: op, answer: { status, body } },
    ]
  })
  return checkRepeats((await Promise.all(told)).flat())
}

const REPEATS = 40

function linesOf(file: string): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
}
