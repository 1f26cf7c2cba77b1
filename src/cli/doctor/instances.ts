// Who runs, and whether every partition has somebody who takes its commands.
import type { Finding } from './check.ts'
import { countOf } from './figures.ts'
import type { Session } from './session.ts'

interface Running {
  readonly alive: number
  readonly stateful: number
  /** Their leases have ended: killed, stopped or cut off. */
  readonly silent: number
  readonly roles: string | null
}

const RUNNING = `select (count(*) filter (where alive))::int as alive, (count(*) filter (where alive and 'stateful' = any(roles)))::int as stateful,
    (count(*) filter (where not alive))::int as silent,
    string_agg(distinct array_to_string(roles, '+'), ', ') filter (where alive) as roles
  from twofold.instance`

export async function lookAtInstances(session: Session): Promise<Finding> {
  const { alive, stateful, silent, roles } = await session.row<Running>(RUNNING)
  const lost = silent === 0 ? '' : `; ${countOf(silent, 'other')} fell silent within the last hour and did not say goodbye`
  if (alive === 0) return { status: 'ok', found: `no instance runs now${lost}` }
  const found = `${countOf(alive, 'instance')} alive (${roles})${lost}`
  if (stateful > 0) return { status: 'ok', found }
  return {
    status: 'warning',
    found: `${found}, none with the role 'stateful': accepted commands wait`,
    advice: "start one with the role 'stateful'",
  }
}

interface Ownership {
  readonly partitions: number
  readonly unowned: number
  readonly stateful: boolean
}

const OWNERSHIP = `select count(*)::int as partitions, (count(*) filter (where i.id is null))::int as unowned,
    exists (select from twofold.instance where alive and 'stateful' = any(roles)) as stateful
  from twofold.partition p left join twofold.instance i on i.id = p.owner and i.alive`

export async function lookAtPartitions(session: Session): Promise<Finding> {
  const { partitions, unowned, stateful } = await session.row<Ownership>(OWNERSHIP)
  if (unowned === 0) return { status: 'ok', found: `each of the ${countOf(partitions, 'partition')} has a live owner` }
  const found = `${unowned} of ${countOf(partitions, 'partition')} have no live owner`
  if (!stateful) return { status: 'ok', found: `${found}, as nobody with the role 'stateful' runs` }
  return {
    status: 'warning',
    found,
    advice: 'after a crash or a start that lasts one lease (10 s); look again, and if it stays, restart the instances and read their logs',
  }
}
