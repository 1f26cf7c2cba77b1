// What waits, what is held, and what has died: the three places where a command can be that has not been done.
import type { Finding } from './check.ts'
import { bytesOf, countOf, durationOf } from './figures.ts'
import type { Session } from './session.ts'

/** An owner counts its partitions twice a second. */
const COUNTED_SECONDS_MAX = 5

/** With an instance alive a command waits milliseconds. */
const OLDEST_MS_MAX = 60_000

interface Waiting {
  readonly commands: number
  readonly bytes: number
  readonly oldestMs: number | null
}

const SUMS = `coalesce(sum(commands), 0)::float8 as commands, coalesce(sum(bytes), 0)::float8 as bytes,
  (extract(epoch from clock_timestamp() - min(oldest)) * 1000)::float8 as "oldestMs"`

// What the owners counted costs nothing to read; only where nobody counts, or something was not counted yet, the log itself is walked over.
const COUNTED = `select ${SUMS} from twofold.backlog
  having count(*) = (select partition_count from twofold._app) and min(at) > clock_timestamp() - interval '${COUNTED_SECONDS_MAX} seconds'`

export async function lookAtWaiting(session: Session): Promise<Finding> {
  const [counted] = await session.rows<Waiting>(COUNTED)
  const { commands, bytes, oldestMs } = counted ?? (await session.row<Waiting>(`select ${SUMS} from twofold.waiting`))
  if (commands === 0) return { status: 'ok', found: 'no command waits in the log' }
  const found = `${countOf(commands, 'command')} (${bytesOf(bytes)}) wait in the log, the oldest for ${durationOf(oldestMs ?? 0)}`
  if ((oldestMs ?? 0) <= OLDEST_MS_MAX) return { status: 'ok', found }
  return { status: 'warning', found, advice: "start more instances with the role 'stateful', and see app.instances and app.partitions" }
}

interface Parked {
  readonly keys: number
  readonly commands: number
  /** Held until an operator lets them go on. */
  readonly stopped: number
  readonly service: string | null
  readonly key: string | null
  readonly error: string | null
}

const PARKED = `with keys as (select service, key, count(*) as commands, bool_or(due_at = 'infinity') as stopped, max(error) as error
    from twofold.parked group by service, key),
  worst as (select * from keys order by stopped desc, commands desc limit 1)
  select count(*)::int as keys, coalesce(sum(commands), 0)::float8 as commands, (count(*) filter (where stopped))::int as stopped,
    (select service from worst), (select key from worst), (select error from worst) from keys`

export async function lookAtParked(session: Session): Promise<Finding> {
  const { keys, commands, stopped, service, key, error } = await session.row<Parked>(PARKED)
  if (keys === 0) return { status: 'ok', found: 'no key is held by a failing command' }
  const found = `${countOf(commands, 'command')} of ${countOf(keys, 'key')} are held behind one that fails, most of '${key}' of '${service}' (${error ?? 'no error yet'})`
  if (stopped === 0) return { status: 'warning', found, advice: 'they are tried again by themselves; see twofold.parked' }
  const release = `select twofold.release_key('<service>', '<key>')`
  return {
    status: 'warning',
    found: `${found}; ${countOf(stopped, 'key')} until an operator says so`,
    advice: `mend the reason, then: ${release}`,
  }
}

interface Dead {
  readonly dead: number
  readonly lastDay: number
  readonly newest: string | null
}

const DEAD = `select count(*)::float8 as dead, (count(*) filter (where at > clock_timestamp() - interval '1 day'))::float8 as "lastDay",
  (select format('%s %s of %s: %s', kind, name, service, error) from twofold.dead_letter order by at desc limit 1) as newest
  from twofold.dead_letter`

export async function lookAtDeadLetters(session: Session): Promise<Finding> {
  const { dead, lastDay, newest } = await session.row<Dead>(DEAD)
  if (dead === 0) return { status: 'ok', found: 'no dead letter' }
  return {
    status: 'warning',
    found: `${countOf(dead, 'dead letter')}, ${lastDay.toLocaleString('en')} of the last 24 hours; the newest: ${firstLine(newest ?? '')}`,
    advice: 'read twofold.dead_letter and decide about each',
  }
}

function firstLine(text: string): string {
  const [line = ''] = text.split('\n')
  return line.length > 160 ? `${line.slice(0, 160)}…` : line
}
