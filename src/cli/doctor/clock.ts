// How far the clocks of this machine and of the server are apart. Leases go by the server's clock alone; ids and logs are read by people.
import type { Finding } from './check.ts'
import { durationOf } from './figures.ts'
import type { Session } from './session.ts'

const APART_MS_MAX = 1000

export async function lookAtClock(session: Session, now: () => number = Date.now): Promise<Finding> {
  const before = now()
  const { at } = await session.row<{ at: number }>(`select extract(epoch from clock_timestamp())::float8 * 1000 as at`)
  const after = now()
  // When the server looked is known but for the time the question and the answer took; only what lies outside it is a difference.
  const apartMs = Math.max(before - at, at - after, 0)
  if (apartMs <= APART_MS_MAX)
    return { status: 'ok', found: `this machine and the server agree on the time within ${durationOf(apartMs + (after - before))}` }
  return {
    status: 'warning',
    found: `the clock of this machine is ${durationOf(apartMs)} ${at > after ? 'behind' : 'ahead of'} the server's; leases go by the server's and are safe, times in logs differ`,
    advice: 'let both keep their time by NTP',
  }
}
