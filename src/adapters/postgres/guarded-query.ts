// A statement of the engine, and what its failure means to a batch.
import type pg from 'pg'
import { BatchAborted, type BatchFailure } from '../../ports/effect-store.ts'

/** Runs a statement, prepared under `name` unless that is empty. @throws BatchAborted */
export function run<Row extends object>(client: pg.Client, name: string, text: string, values: readonly unknown[]): Promise<Row[]> {
  return guarded(async () => (await client.query<Row>(name === '' ? { text } : { name, text, values: [...values] })).rows)
}

/** Whatever goes wrong in the call becomes the reason why the batch stored nothing. */
export async function guarded<Result>(call: () => Promise<Result>): Promise<Result> {
  try {
    return await call()
  } catch (error) {
    throw abortedBy(error)
  }
}

/** The reason why a batch stored nothing, from what a statement failed with. */
export function abortedBy(error: unknown): BatchAborted {
  if (error instanceof BatchAborted) return error
  return new BatchAborted(failureOf(error), error instanceof Error ? error.message : String(error), error)
}

/** Why PostgreSQL refused, from the SQLSTATE; without one it was the connection. */
function failureOf(error: unknown): BatchFailure {
  const { code, message } = error as { code?: unknown; message?: string }
  if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code)) return 'lost'
  if (code === 'TF001') return (['fenced', 'behind'] as const).find((failure) => message?.startsWith(failure)) ?? 'conflict'
  // 23505: a duplicate outcome, claim, event number or entity. 40*: serialization failure, deadlock. 55P03: a lock was not to be had in time.
  if (code === '23505' || code.startsWith('40') || code === '55P03') return 'conflict'
  if (code.startsWith('22') || code.startsWith('23')) return 'data'
  return 'lost'
}

/** Ends a connection; one that does not answer is not waited for longer than a moment, and its socket is not kept either. */
export async function end(client: pg.Client): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const moment = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      client.connection.stream.destroy()
      resolve()
    }, END_MS_MAX)
  })
  await Promise.race([client.end().catch(() => undefined), moment])
  clearTimeout(timer)
}

const END_MS_MAX = 500
