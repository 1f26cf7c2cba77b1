// Commands that are too large for the broker that carries the others. They lie in PostgreSQL's log, and what the broker delivers in their place says
// where: so they run in their turn, as all others do. Delivered once more after its row was consumed, such a command has its outcome, or is parked.
import type { Envelope } from '../../contract/envelope.ts'
import type { EffectSession } from '../../ports/effect-store.ts'
import type { CarriedWorks } from './carried-works.ts'
import type { Relay } from './relay.ts'
import { settle, type Work } from './work.ts'

export interface LargeOptions {
  readonly session: () => Promise<Pick<EffectSession, 'rows' | 'recover'>>
  readonly carried: Pick<CarriedWorks, 'replace'>
  readonly relay: Pick<Relay, 'ran'> | undefined
}

/** What was delivered, with the commands themselves in place of what says where they lie. */
export async function withLarge(works: readonly Work[], { session, carried, relay }: LargeOptions): Promise<readonly Work[]> {
  const large = works.filter(isLarge)
  if (large.length === 0) return works
  const open = await session()
  const rows = await open.rows([...new Set(large.map(({ envelope }) => envelope.inRow))])
  const found = new Map<string, Envelope>()
  for (const { seq, partition, commands } of rows)
    for (const envelope of commands) found.set(placeOf(seq, partition, envelope.id), envelope)
  const gone = large.filter((work) => !found.has(placeOfWork(work)))
  const known = gone.length === 0 ? undefined : await open.recover(idsOf(gone), [], [])
  return works.flatMap((work) => {
    if (!isLarge(work)) return [work]
    const envelope = found.get(placeOfWork(work))
    if (envelope !== undefined) return [carried.replace(work, told({ ...work, envelope }, work.envelope.inRow, relay))]
    const outcome = known?.outcomes.find(({ id }) => id === work.envelope.id)
    const isParked = known?.parked.has(work.envelope.id) === true
    if (outcome !== undefined) settle(work, { status: 'finished', outcome })
    else if (isParked) settle(work, { status: 'held' })
    else
      return [
        carried.replace(work, { ...work, fault: new Error(`it is not in row ${work.envelope.inRow} of the log, where it should be`) }),
      ]
    return []
  })
}

type Large = Work & { readonly envelope: { readonly inRow: string } }

function isLarge(work: Work): work is Large {
  return work.envelope.inRow !== undefined && work.fault === undefined
}

/** Its row is kept until it is settled. */
function told(work: Work, row: string, relay: LargeOptions['relay']): Work {
  const { origin, envelope } = work
  if (origin.from !== 'carried') return work
  return {
    ...work,
    origin: {
      ...origin,
      settle(result) {
        if (result.status !== 'deferred') relay?.ran(row, envelope.id)
        origin.settle(result)
      },
    },
  }
}

function placeOfWork({ envelope, partition }: Large): string {
  return placeOf(envelope.inRow, partition, envelope.id)
}

function placeOf(row: string, partition: number, id: string): string {
  return `${row} ${partition} ${id}`
}

function idsOf(works: readonly Work[]): string[] {
  return works.map(({ envelope }) => envelope.id)
}
