// What one SQL command stores, as a statement of its own. The general one (./commit-statement.ts) takes arrays apart, and to set that up
// costs PostgreSQL more than storing one row of each kind does. What is checked is the same: the fence and the row of the log are counted,
// outcome, claim and event meet their primary keys, and whatever is not as it should be raises inside the statement.
import type { EffectBatch } from '../../ports/effect-store.ts'
import { encodeEvents } from './event-rows.ts'
import type { Statement } from './round-trip.ts'

type Values = readonly (string | null)[]

interface Part {
  readonly name: 'fence' | 'unread' | 'outcome' | 'claim' | 'event' | 'consumed' | 'survived'
  /** The CTE; `$1`, `$2` … stand for its own values and are renumbered. */
  readonly sql: string
  /** How many values it has. */
  readonly width: number
  /** Of each row that the batch has for it. */
  readonly values: (batch: EffectBatch) => readonly Values[]
  /** What it means when no row came out. Left out where the statement itself raises. */
  readonly counted?: 'fenced' | 'behind' | 'conflict'
}

const parts: readonly Part[] = [
  {
    name: 'fence',
    sql: 'select 1 from twofold._partition where partition = $1 and epoch = $2 for share',
    width: 2,
    values: ({ fences }) => fences.map(({ partition, epoch }) => [String(partition), epoch]),
    counted: 'fenced',
  },
  {
    // Of its own partition only: there its key is at home, so nothing that it could overtake waits elsewhere.
    name: 'unread',
    // A copy of its own, by a caller who did not wait to the end, is nothing that it overtakes.
    sql: `select 1 where not exists (select from twofold._command where partition = $1 and seq > $2 and (count > 1 or first_id <> $3))`,
    width: 3,
    values: ({ unreadAbove, fences, outcomes }) =>
      unreadAbove === undefined ? [] : fences.map(({ partition }) => [String(partition), String(unreadAbove), outcomes[0]?.id ?? null]),
    counted: 'behind',
  },
  {
    name: 'outcome',
    sql: `insert into twofold._outcome (id, service, command, status, code, body, rejected_with, version, partition, event_seq, finished_at)
      values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    width: 11,
    values: ({ outcomes }) =>
      outcomes.map((outcome) => [
        outcome.id,
        outcome.service,
        outcome.command,
        outcome.status,
        outcome.code ?? null,
        outcome.body ?? null,
        outcome.rejectedWith === undefined ? null : String(outcome.rejectedWith),
        String(outcome.version),
        String(outcome.partition),
        String(outcome.eventSeq),
        outcome.finishedAt.toISOString(),
      ]),
  },
  {
    // Its caller may have stopped waiting and appended it while its handler ran: then the claim is there, and is its own.
    name: 'claim',
    sql: `insert into twofold._claim as c (hash, fingerprint, command_id) values ($1, $2, $3)
      on conflict (hash) do update set command_id = c.command_id where c.command_id = excluded.command_id returning 1`,
    width: 3,
    values: ({ claims }) => claims.map(({ hash, fingerprint, commandId }) => [hash, fingerprint, commandId]),
    counted: 'conflict',
  },
  {
    name: 'event',
    sql: 'insert into twofold._event (partition, seq, count, body) values ($1, $2, $3, $4)',
    width: 4,
    values: ({ events }) =>
      events.map((event) => [String(event.partition), String(event.last), String(event.lines.length), encodeEvents(event)]),
  },
  {
    name: 'consumed',
    sql: 'delete from twofold._command where seq = $1 returning 1',
    width: 1,
    values: ({ consumed }) => consumed.map((seq) => [seq]),
    counted: 'conflict',
  },
  {
    name: 'survived',
    sql: 'delete from twofold._attempt where id = $1',
    width: 1,
    values: ({ survived = [] }) => survived.map((id) => [id]),
  },
]

/** Without these there is no end of a command. */
const always = new Set<Part['name']>(['fence', 'outcome'])

/** The texts of all sets of parts that there can be, by name: to make one costs as much as to send it. */
const texts: ReadonlyMap<string, string> = new Map(
  parts
    .reduce<Part[][]>((sets, part) => [...(always.has(part.name) ? [] : sets), ...sets.map((set) => [...set, part])], [[]])
    .map((set) => [nameOf(set), compose(set)]),
)

/** The statement of a batch that is the end of one command; undefined for one that holds more, or anything that is seldom. */
export function singleCommit(batch: EffectBatch): Statement | undefined {
  if (holdsOthers(batch)) return undefined
  const used: Part[] = []
  const values: (string | null)[] = []
  for (const part of parts) {
    const [row, more] = part.values(batch)
    if (more !== undefined) return undefined
    if (row === undefined) continue
    used.push(part)
    values.push(...row)
  }
  const name = nameOf(used)
  const text = texts.get(name)
  return text === undefined ? undefined : { name, text, values }
}

function holdsOthers({ writes, reads, unparked, retried, parked, deadLetters, unread }: EffectBatch): boolean {
  return unread !== undefined || writes.length + reads.length + unparked.length + retried.length + parked.length + deadLetters.length > 0
}

function nameOf(used: readonly Part[]): string {
  return `twofold_one_${used.map(({ name }) => name).join('_')}`
}

function compose(used: readonly Part[]): string {
  let first = 0
  const expressions = used.map(({ name, sql, width }) => {
    const shift = first
    first += width
    return `"${name}" as materialized (${sql.replaceAll(/\$(\d+)/g, (_, number: string) => `$${Number(number) + shift}`)})`
  })
  const checks = used.flatMap(({ name, counted }) =>
    counted === undefined ? [] : [`when not exists (select from "${name}") then twofold.abort_batch('${counted}: no ${name}')`],
  )
  return `with ${expressions.join(',\n')}\nselect case ${checks.join('\n')} else 1 end`
}
