// When a lane may run handlers of its own beside those of SQL commands.
import type { SqlExecutor } from '../sql/executor.ts'
import type { HandlerTurn } from './handler-turns.ts'
import type { HeldPartitions } from './held-partitions.ts'
import type { Work } from './work.ts'

export interface TurnOptions {
  readonly sql: Pick<SqlExecutor, 'handlers' | 'numbering'> | undefined
  readonly held: HeldPartitions
  /** Whose turns at the numbers of a partition are one turn, as long as nobody else has come in between. */
  readonly lane: object
  /** Waits until a turn is ready. Partitions may change hands meanwhile. */
  readonly wait: (turn: HandlerTurn) => Promise<void>
}

/**
 * Waits until the handlers of these commands may run, `alone` or beside those of SQL commands, and until SQL commands leave the numbers of
 * their partitions alone. What it returns ends that. Undefined: some of the partitions are not held any more.
 */
export async function takeTurn(
  works: readonly Work[],
  alone: boolean,
  { sql, held, lane, wait }: TurnOptions,
): Promise<(() => void) | undefined> {
  const running = works.length > 0 ? sql?.handlers.take(alone) : undefined
  try {
    if (running?.isReady === false) await wait(running)
    const isOurs = works.every(({ partition }) => held.has(partition))
    if (!isOurs) running?.end()
    if (!isOurs) return undefined
    const numbers = running && sql?.numbering.take(new Set(works.map(({ partition }) => partition)), lane)
    await numbers?.ready
    return () => {
      numbers?.end()
      running?.end()
    }
  } catch (error) {
    running?.end()
    throw error
  }
}
