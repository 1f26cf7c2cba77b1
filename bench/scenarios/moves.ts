// How long keys wait while their partitions change owners: when an instance comes, when it is stopped, and when it is killed.
import { Ledger } from '../../test/cluster/ledger.ts'
import { observeMoves } from '../../test/cluster/moves.ts'
import { withDatabase, type Scenario } from '../scenario.ts'

const LEASE_MS = 2000

export const moves: Scenario = {
  name: 'moves',
  run: ({ server }) =>
    withDatabase(server, async (url) => {
      const ledger = new Ledger({ url, drop: () => Promise.resolve() }, LEASE_MS)
      try {
        const { nothing, comes, leaves, dies } = await observeMoves(ledger)
        return [
          { name: 'move-none', figures: pauses(nothing), verified: true },
          { name: 'move-planned', figures: { ...spread('unserved', comes.holds), ...pauses(comes) }, verified: true },
          { name: 'move-clean-stop', figures: { takenMs: leaves.takenMs, ...pauses(leaves) }, verified: true },
          { name: 'move-crash', figures: { leaseMs: LEASE_MS, takenMs: dies.takenMs, ...pauses(dies) }, verified: true },
        ]
      } finally {
        await ledger.close()
      }
    }),
}

const pauses = (of: { readonly pauses: readonly number[] }): Record<string, number> => spread('pause', of.pauses)

/** Of times from the shortest to the longest. */
function spread(name: string, times: readonly number[]): Record<string, number> {
  return { [`${name}P50Ms`]: times[times.length >> 1] ?? 0, [`${name}MaxMs`]: times.at(-1) ?? 0 }
}
