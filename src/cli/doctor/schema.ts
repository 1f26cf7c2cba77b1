// Which version of Twofold the database was made for.
import { schemaVersion } from '../../adapters/postgres/migrate.ts'
import { faultOf, type Finding } from './check.ts'
import { countOf } from './figures.ts'
import type { Session } from './session.ts'

export interface SchemaFinding extends Finding {
  /** Whether its tables and views are the ones that this program knows. */
  readonly isCurrent: boolean
}

export async function lookAtSchema(session: Session): Promise<SchemaFinding> {
  const { applied, known, fault } = await schemaVersion(session.client)
  if (fault !== undefined) return { ...faultOf(fault), isCurrent: false }
  if (applied === undefined)
    return { status: 'ok', found: `no schema twofold yet: the first start makes it (migration ${known})`, isCurrent: false }
  if (applied < known)
    return {
      status: 'warning',
      found: `the schema is at migration ${applied}, this program knows ${known}`,
      advice: 'start this version of the app: it brings the schema up to date, and older ones cannot start after that',
      isCurrent: false,
    }
  const { name, partitions } = await session.row<{ name: string; partitions: number }>(
    'select name, partition_count as partitions from twofold._app',
  )
  return { status: 'ok', found: `app '${name}' with ${countOf(partitions, 'partition')}, at migration ${applied}`, isCurrent: true }
}
