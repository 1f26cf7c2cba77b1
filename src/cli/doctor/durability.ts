// Whether what PostgreSQL has acknowledged is on the disk.
import type { Finding } from './check.ts'
import type { Session } from './session.ts'

interface Settings {
  readonly fsync: string
  readonly commit: string
  readonly pages: string
  /** Names of replicas that a commit waits for. */
  readonly replicas: string
}

export async function lookAtDurability(session: Session): Promise<Finding> {
  const settings = await session.row<Settings>(`select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit,
    current_setting('full_page_writes') as pages, current_setting('synchronous_standby_names') as replicas`)
  return durabilityOf(settings)
}

/** Judges what the settings promise; with `synchronous_commit` anything but off, the own disk is always waited for. */
function durabilityOf({ fsync, commit, pages, replicas }: Settings): Finding {
  if (fsync === 'off')
    return fault(
      'fsync is off: a crash of the machine can destroy the whole database, accepted commands included',
      'turn fsync on in the configuration of the server',
    )
  if (pages === 'off')
    return fault(
      'full_page_writes is off: a crash of the machine can leave pages half written',
      'turn full_page_writes on in the configuration of the server',
    )
  if (commit === 'off')
    return fault(
      'synchronous_commit is off: a crash of the server loses commands that were accepted a moment before',
      'turn synchronous_commit on for the server, the database and the role',
    )
  if (replicas !== '' && commit === 'local')
    return {
      status: 'warning',
      found: 'synchronous_commit is local: when a replica takes over, commands that were accepted a moment before can be lost',
      advice: 'turn synchronous_commit on',
    }
  return { status: 'ok', found: `fsync and full_page_writes are on, synchronous_commit is ${commit}: what was accepted is on the disk` }
}

function fault(found: string, advice: string): Finding {
  return { status: 'fault', found, advice }
}
