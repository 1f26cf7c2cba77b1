// The moment between a statement and its answer, as a crash point: the server has it, and this process may never hear what became of it.
import { Socket } from 'node:net'
import type pg from 'pg'
import type { CrashPoint, CrashPoints } from '../../runtime/crash-points.ts'

/** What `answer` resolves with. It belongs to a statement that was handed to `client` just now. */
export async function sent<Answer>(
  answer: Promise<Answer>,
  client: pg.Client | pg.PoolClient,
  point: CrashPoint,
  crash: CrashPoints | undefined,
): Promise<Answer> {
  if (crash === undefined) return answer
  const reached = async (): Promise<void> => {
    // In the next turn of the event loop the statement is out.
    await new Promise(setImmediate)
    await crash.reach(point, () => lose(client))
  }
  const [answered] = await Promise.all([answer, reached()])
  return answered
}

/** What was sent still arrives; nothing comes back any more. */
function lose(client: pg.Client | pg.PoolClient): void {
  const { stream } = client.connection
  stream.pause()
  if (stream instanceof Socket) stream.destroySoon()
  else stream.destroy()
}
