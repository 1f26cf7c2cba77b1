// The one statement a batch is stored by. Everything in it happens or nothing, in one round trip and without BEGIN and COMMIT.
//
// What the parts are, and what breaks without each (numbers: docs/decisions/0003-one-checked-statement.md):
//  fence     FOR SHARE on the partition rows, by epoch. A plain read would let a former owner commit while its successor takes over;
//            FOR KEY SHARE does not conflict with that update either. Updating the row would do, and rots under a held snapshot.
//  unread    the log is empty above the lowest floor, where it was not read before: a direct command must not overtake what was acknowledged.
//  written   update … where version = the version read. inserted: a plain insert, so that a rival's insert is a conflict.
//  read      entities that were only read, also by a rejection: a stale read must not decide anything. Where some are written too, one
//            part (locked) locks both in one order: a plain lock of the ones after the others could meet another owner's the other way round.
//  outcome   no ON CONFLICT: a duplicate command must abort the batch, not skip its outcome and apply its change again.
//  consumed  the log rows, counted: a row somebody else consumed aborts the batch.
//  parked, retried  only what has no outcome, counted: a copy of a finished command that fails would hold its key, and nothing else tells.
// The two large parts, written and outcome, take their arrays apart in a select list, where they are walked side by side; in FROM each
// array would first be copied into a store of its own. A part that is not counted returns nothing, which would be stored as well.
// Counting happens inside the statement and raises there. Rows are written in key order (the arrays are sorted and joined by nested
// loops from them, see `SESSION_SETTINGS`), so that two statements cannot lock each other out.
import { byKey, type EffectBatch, type EntityRead, type EntityWrite } from '../../ports/effect-store.ts'
import { encodeEnvelope } from '../../contract/envelope.ts'
import type { StoredOutcome } from '../../ports/outcomes.ts'
import { encodeEvents } from './event-rows.ts'
import { jsonTexts, plainArray, textArray } from './array-literal.ts'
import { storableText } from './storable-text.ts'

/** A prepared statement: `name` tells which parts it has, `values` are its parameters. */
export interface CommitStatement {
  readonly name: string
  readonly text: string
  readonly values: readonly string[]
}

/** A batch with its writes and reads taken apart once: many parts ask for them. */
interface SplitBatch extends EffectBatch {
  readonly inserts: readonly EntityWrite[]
  readonly updates: readonly EntityWrite[]
  /** Reads of entities that exist, and of such that do not. */
  readonly lookedAt: readonly EntityRead[]
  readonly missed: readonly EntityRead[]
  readonly logFloor: number | undefined
}

interface Part {
  readonly name: string
  readonly count: (batch: SplitBatch) => number
  /** The CTE; `$1`, `$2` … stand for its own arrays and are renumbered. */
  readonly sql: string
  readonly arrays: (batch: SplitBatch) => string[]
  /** What it means when fewer rows came out than went in. Left out where the statement itself raises. */
  readonly counted?: 'fenced' | 'conflict' | 'behind'
}

/** A head that died never becomes due by itself. */
const dueAt = (delayMs: string): string => `coalesce(clock_timestamp() + ${delayMs} * interval '1 millisecond', 'infinity')`

/** What this very statement stores does not show yet: one that died in its place has its outcome from here on. */
const unfinished = (id: string): string => `not exists (select from twofold._outcome o where o.id = ${id})`

const delay = (ms: number): number | string => (ms === Infinity ? 'NULL' : ms)

const parts: readonly Part[] = [
  {
    name: 'fence',
    count: (batch) => batch.fences.length,
    sql: `select 1 from unnest($1::int[], $2::bigint[]) t(partition, epoch)
      join twofold._partition p on p.partition = t.partition and p.epoch = t.epoch order by p.partition for share of p`,
    arrays: ({ fences }) => {
      const sorted = fences.toSorted((a, b) => a.partition - b.partition)
      return [plainArray(sorted.map((fence) => fence.partition)), plainArray(sorted.map((fence) => fence.epoch))]
    },
    counted: 'fenced',
  },
  {
    name: 'unread',
    count: ({ logFloor }) => (logFloor === undefined ? 0 : 1),
    // Of one SQL command its own copy does not count, by a caller who did not wait to the end of its handler.
    sql: 'select 1 where not exists (select 1 from twofold._command where seq > $1::bigint and (count > 1 or first_id <> all ($2::uuid[])))',
    arrays: ({ logFloor, unreadAbove, outcomes, parked }) => [
      String(logFloor),
      plainArray(unreadAbove === undefined ? [] : [...outcomes.map(({ id }) => id), ...parked.map(({ envelope }) => envelope.id)]),
    ],
    counted: 'behind',
  },
  {
    // Before `written`, so that everything is locked before anything is changed; the strength is the one that the update takes.
    name: 'locked',
    count: ({ updates, lookedAt }) => (updates.length > 0 && lookedAt.length > 0 ? updates.length + lookedAt.length : 0),
    sql: `select 1 from unnest($1::text[], $2::text[], $3::bigint[]) t(service, key, version)
      join twofold._entity e on e.service = t.service and e.key = t.key and e.version = t.version for no key update of e`,
    arrays: ({ updates, lookedAt }) =>
      versionArrays([...updates.map(({ service, key, from }) => ({ service, key, version: from })), ...lookedAt].toSorted(byKey)),
    counted: 'conflict',
  },
  {
    name: 'written',
    count: ({ updates }) => updates.length,
    sql: `update twofold._entity e set version = t.version, shape = ($2::int[])[t.kind], state = t.state
      from (select unnest($3::int[]) as kind, unnest($4::text[]) as key, unnest($5::bigint[]) as was, unnest($6::bigint[]) as version,
        unnest(string_to_array($7, E'\\x1e', '')) as state) t
      where e.service = ($1::text[])[t.kind] and e.key = t.key and e.version = t.was returning 1`,
    arrays: ({ updates: rows }) => {
      const { distinct, kinds } = kindsOf(rows, (a, b) => a.service === b.service && a.shape === b.shape)
      return [
        textArray(distinct.map((row) => row.service)),
        plainArray(distinct.map((row) => row.shape)),
        plainArray(kinds),
        textArray(rows.map((row) => row.key)),
        plainArray(rows.map((row) => row.from)),
        plainArray(rows.map((row) => row.version)),
        jsonTexts(rows.map((row) => row.state)),
      ]
    },
    counted: 'conflict',
  },
  {
    name: 'inserted',
    count: ({ inserts }) => inserts.length,
    sql: `insert into twofold._entity (service, key, version, shape, state)
      select * from unnest($1::text[], $2::text[], $3::bigint[], $4::int[], string_to_array($5, E'\\x1e', ''))`,
    arrays: ({ inserts }) => [
      textArray(inserts.map((row) => row.service)),
      textArray(inserts.map((row) => row.key)),
      plainArray(inserts.map((row) => row.version)),
      plainArray(inserts.map((row) => row.shape)),
      jsonTexts(inserts.map((row) => row.state)),
    ],
  },
  {
    name: 'read',
    count: ({ updates, lookedAt }) => (updates.length > 0 ? 0 : lookedAt.length),
    sql: `select 1 from unnest($1::text[], $2::text[], $3::bigint[]) t(service, key, version)
      join twofold._entity e on e.service = t.service and e.key = t.key and e.version = t.version for share of e`,
    arrays: ({ lookedAt }) => versionArrays(lookedAt),
    counted: 'conflict',
  },
  {
    // Entities that were read and did not exist: there must still be none, and nobody may be about to make one. One row comes out for each.
    name: 'absent',
    count: ({ missed }) => missed.length,
    sql: 'select 1 from generate_series(1, twofold.lock_absent($1::text[], $2::text[], false))',
    arrays: ({ missed }) => [textArray(missed.map((row) => row.service)), textArray(missed.map((row) => row.key))],
    counted: 'conflict',
  },
  {
    name: 'outcome',
    count: (batch) => batch.outcomes.length,
    sql: `insert into twofold._outcome (id, service, command, status, code, rejected_with, finished_at, body, version, partition, event_seq)
      select t.id, ($1::text[])[t.kind], ($2::text[])[t.kind], ($3::text[])[t.kind], ($4::text[])[t.kind], ($5::smallint[])[t.kind],
        ($6::timestamptz[])[t.kind], t.body, t.version, t.partition, t.event_seq
      from (select unnest($7::uuid[]) as id, unnest($8::int[]) as kind, unnest(string_to_array($9, E'\\x1e', '')) as body,
        unnest($10::bigint[]) as version, unnest($11::int[]) as partition, unnest($12::bigint[]) as event_seq) t`,
    arrays: ({ outcomes }) => {
      const { distinct, kinds } = kindsOf(outcomes, sameEnd)
      return [
        textArray(distinct.map((outcome) => outcome.service)),
        textArray(distinct.map((outcome) => outcome.command)),
        textArray(distinct.map((outcome) => outcome.status)),
        textArray(distinct.map((outcome) => outcome.code)),
        plainArray(distinct.map((outcome) => outcome.rejectedWith ?? 'NULL')),
        plainArray(distinct.map((outcome) => outcome.finishedAt.toISOString())),
        plainArray(outcomes.map((outcome) => outcome.id)),
        plainArray(kinds),
        jsonTexts(outcomes.map((outcome) => outcome.body)),
        plainArray(outcomes.map((outcome) => outcome.version)),
        plainArray(outcomes.map((outcome) => outcome.partition)),
        plainArray(outcomes.map((outcome) => outcome.eventSeq)),
      ]
    },
  },
  {
    name: 'claim',
    count: (batch) => batch.claims.length,
    sql: `insert into twofold._claim (hash, fingerprint, command_id) select * from unnest($1::text[], $2::text[], $3::uuid[])`,
    arrays: ({ claims }) => [
      plainArray(claims.map((claim) => claim.hash)),
      plainArray(claims.map((claim) => claim.fingerprint)),
      plainArray(claims.map((claim) => claim.commandId)),
    ],
  },
  {
    name: 'event',
    count: (batch) => batch.events.length,
    sql: `insert into twofold._event (partition, seq, count, body) select * from unnest($1::int[], $2::bigint[], $3::int[], string_to_array($4, E'\\x1e'))`,
    arrays: ({ events }) => [
      plainArray(events.map((event) => event.partition)),
      plainArray(events.map((event) => event.last)),
      plainArray(events.map((event) => event.lines.length)),
      jsonTexts(events.map((event) => encodeEvents(event))),
    ],
  },
  {
    name: 'consumed',
    count: (batch) => batch.consumed.length,
    sql: 'delete from twofold._command where seq = any($1::bigint[]) returning 1',
    arrays: ({ consumed }) => [plainArray(consumed)],
    counted: 'conflict',
  },
  {
    name: 'unparked',
    count: (batch) => batch.unparked.length,
    sql: 'delete from twofold._parked where seq = any($1::bigint[]) returning 1',
    arrays: ({ unparked }) => [plainArray(unparked)],
    counted: 'conflict',
  },
  {
    name: 'retried',
    count: (batch) => batch.retried.length,
    sql: `update twofold._parked p set attempts = t.attempts, due_at = ${dueAt('t.delay_ms')}, error = t.error
      from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::text[]) t(seq, was, attempts, delay_ms, error)
      where p.seq = t.seq and p.attempts = t.was and ${unfinished('p.id')} returning 1`,
    arrays: ({ retried }) => [
      plainArray(retried.map((row) => row.seq)),
      plainArray(retried.map((row) => row.was)),
      plainArray(retried.map((row) => row.attempts)),
      plainArray(retried.map((row) => delay(row.delayMs))),
      textArray(retried.map((row) => storableText(row.error))),
    ],
    counted: 'conflict',
  },
  {
    name: 'parked',
    count: (batch) => batch.parked.length,
    sql: `insert into twofold._parked (partition, service, key, id, envelope, attempts, due_at, error)
      select partition, service, key, id, envelope, attempts, ${dueAt('delay_ms')}, error
      from unnest($1::int[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::int[], $7::int[], $8::text[])
        with ordinality t(partition, service, key, id, envelope, attempts, delay_ms, error, at)
      where ${unfinished('t.id')} order by at returning 1`,
    arrays: ({ parked }) => [
      plainArray(parked.map((row) => row.partition)),
      textArray(parked.map((row) => row.envelope.service)),
      textArray(parked.map((row) => row.envelope.keys[0])),
      plainArray(parked.map((row) => row.envelope.id)),
      textArray(parked.map((row) => encodeEnvelope(row.envelope))),
      plainArray(parked.map((row) => row.attempts)),
      plainArray(parked.map((row) => delay(row.delayMs))),
      textArray(parked.map((row) => row.error && storableText(row.error))),
    ],
    counted: 'conflict',
  },
  {
    name: 'dead',
    count: (batch) => batch.deadLetters.length,
    sql: `insert into twofold._dead_letter (kind, id, service, name, key, partition, message, attempts, error, stack)
      select 'command', * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::int[], $8::text[], $9::text[])`,
    arrays: ({ deadLetters }) => [
      plainArray(deadLetters.map((letter) => letter.envelope.id)),
      textArray(deadLetters.map((letter) => letter.envelope.service)),
      textArray(deadLetters.map((letter) => letter.envelope.command)),
      textArray(deadLetters.map((letter) => letter.envelope.keys[0])),
      plainArray(deadLetters.map((letter) => letter.partition)),
      textArray(deadLetters.map(({ envelope: { input, ...head } }) => `${JSON.stringify(head).slice(0, -1)},"input":${asJson(input)}}`)),
      plainArray(deadLetters.map((letter) => letter.attempts)),
      textArray(deadLetters.map((letter) => storableText(letter.error))),
      textArray(deadLetters.map((letter) => letter.stack && storableText(letter.stack))),
    ],
  },
  {
    name: 'survived',
    count: ({ survived = [] }) => survived.length,
    sql: 'delete from twofold._attempt where id = any($1::uuid[])',
    arrays: ({ survived = [] }) => [plainArray(survived)],
  },
]

/** A broker may have delivered anything; what is no JSON is told as a text. */
function asJson(input: string): string {
  try {
    JSON.parse(input)
    return input
  } catch {
    return JSON.stringify(input)
  }
}

/**
 * Values that most rows of a batch share are sent once: `kinds[i]`, counted from 1 as PostgreSQL counts, says which of `distinct` has those
 * of row i.
 */
function kindsOf<Row>(rows: readonly Row[], same: (a: Row, b: Row) => boolean): { distinct: Row[]; kinds: number[] } {
  const distinct: Row[] = []
  let kind = 0
  const kinds = rows.map((row) => {
    const last = distinct[kind - 1]
    if (last !== undefined && same(last, row)) return kind
    kind = distinct.findIndex((known) => same(known, row)) + 1
    if (kind === 0) kind = distinct.push(row)
    return kind
  })
  return { distinct, kinds }
}

function sameEnd(a: StoredOutcome, b: StoredOutcome): boolean {
  const sameKind = a.command === b.command && a.service === b.service && a.status === b.status && a.code === b.code
  return sameKind && a.rejectedWith === b.rejectedWith && a.finishedAt === b.finishedAt
}

function splitBatch(batch: EffectBatch, logFloor: number | undefined): SplitBatch {
  const updates: EntityWrite[] = []
  const inserts: EntityWrite[] = []
  const lookedAt: EntityRead[] = []
  const missed: EntityRead[] = []
  for (const write of batch.writes) (write.from > 0 ? updates : inserts).push(write)
  for (const read of batch.reads) (read.version > 0 ? lookedAt : missed).push(read)
  return { ...batch, updates, inserts, lookedAt, missed, logFloor }
}

function versionArrays(rows: readonly EntityRead[]): string[] {
  return [textArray(rows.map((row) => row.service)), textArray(rows.map((row) => row.key)), plainArray(rows.map((row) => row.version))]
}

/** The statement for a batch, made of just the parts it needs. `logFloor`: nothing may wait in the log above it. */
export function commitStatement(whole: EffectBatch, logFloor?: number): CommitStatement {
  const batch = splitBatch(whole, logFloor)
  const used = parts.filter((part) => part.count(batch) > 0)
  const name = `twofold_commit_${parts.map((part) => (used.includes(part) ? '1' : '0')).join('')}`
  const arrays = used.map((part) => part.arrays(batch))
  const counts = used.filter((part) => part.counted).map((part) => String(part.count(batch)))
  const text = compose(
    used,
    arrays.map((group) => group.length),
  )
  return { name, text, values: [...arrays.flat(), ...counts] }
}

function compose(used: readonly Part[], arrayCounts: readonly number[]): string {
  let first = 0
  const expressions = used.map((part, at) => {
    const shift = first
    first += arrayCounts[at] ?? 0
    return `"${part.name}" as materialized (${part.sql.replaceAll(/\$(\d+)/g, (_, number: string) => `$${Number(number) + shift}`)})`
  })
  const checks = used
    .filter((part) => part.counted)
    .map((part, at) => {
      const counted = `(select count(*) from "${part.name}")`
      return `when ${counted} <> $${first + at + 1}::bigint then twofold.abort_batch('${part.counted}: ' || ${counted} || ' of ' || $${first + at + 1} || ' ${part.name}')`
    })
  return `with ${expressions.join(',\n')}\nselect case ${checks.join('\n')} else 1 end`
}
