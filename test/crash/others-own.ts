// When an instance that stands still has lost what it held: before that, it comes back as the owner it was, and proves nothing.
import type pg from 'pg'
import { until } from '../e2e/program.ts'

const LIVING = 'select id from twofold.instance where alive'

// One of those that lived then has no lease any more, and every partition belongs to an instance that has one.
const OTHERS_OWN = `select 1 where exists (select from unnest($1::uuid[]) then_living where not exists (
    select from twofold.instance i where i.id = then_living and i.alive))
  and not exists (select from twofold.partition p where not exists (select from twofold.instance i where i.id = p.owner and i.alive))`

/** To be asked as soon as one of the instances stands still; resolves once its lease is over and others own every partition. */
export async function othersOwn(database: pg.Pool, timeoutMs: number): Promise<void> {
  const { rows } = await database.query<{ id: string }>(LIVING)
  const living = rows.map(({ id }) => id)
  const isSo = async (): Promise<boolean> => (await database.query(OTHERS_OWN, [living])).rows.length === 1
  await until('other instances own every partition of the one that stands still', isSo, timeoutMs)
}
