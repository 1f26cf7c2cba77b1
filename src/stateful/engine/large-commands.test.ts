import { expect, test } from 'vitest'
import type { Envelope } from '../../contract/envelope.ts'
import type { LogRow, Recovery } from '../../ports/effect-store.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'
import type { StoredOutcome } from '../../ports/outcomes.ts'
import { withLarge } from './large-commands.ts'
import { settle, type Work } from './work.ts'

const envelope: Envelope = { id: '01a20000-0000-7000-8000-000000000001', service: 's', command: 'c', keys: ['k'], input: '{"all":1}' }
const nobody: Recovery = { outcomes: [], claims: new Map(), parked: new Set(), holding: new Set(), waiting: new Set() }

async function filled(
  rows: readonly LogRow[],
  known: Recovery = nobody,
): Promise<{ readonly works: readonly Work[]; readonly told: DirectResult[]; readonly ran: string[] }> {
  const told: DirectResult[] = []
  const ran: string[] = []
  const work: Work = {
    envelope: { ...envelope, input: 'null', inRow: '7' },
    partition: 3,
    origin: { from: 'carried', leftBehind: false, settle: (result) => void told.push(result) },
  }
  const works = await withLarge([work], {
    session: () => Promise.resolve({ rows: () => Promise.resolve(rows), recover: () => Promise.resolve(known) }),
    carried: { replace: (_, by) => by },
    relay: { ran: (seq, id) => void ran.push(`${seq} ${id}`) },
  })
  return { works, told, ran }
}

test('it is taken from its row, which hears of its end', async () => {
  const { works, told, ran } = await filled([{ seq: '7', partition: 3, commands: [{ ...envelope, id: 'other' }, envelope] }])
  expect(works.map((work) => work.envelope)).toEqual([envelope])
  settle(works[0] as Work, { status: 'deferred' })
  expect(ran).toEqual([])
  settle(works[0] as Work, { status: 'held' })
  expect([told, ran]).toEqual([[{ status: 'deferred' }, { status: 'held' }], [`7 ${envelope.id}`]])
})

test('delivered again after its row was consumed it has its outcome, or is parked', async () => {
  const outcome = { id: envelope.id } as StoredOutcome
  const finished = await filled([], { ...nobody, outcomes: [outcome] })
  expect([finished.works, finished.told]).toEqual([[], [{ status: 'finished', outcome }]])
  const parked = await filled([], { ...nobody, parked: new Set([envelope.id]) })
  expect([parked.works, parked.told]).toEqual([[], [{ status: 'held' }]])
})

test.each([
  ['nothing', []],
  ['another command', [{ seq: '7', partition: 3, commands: [{ ...envelope, id: 'other' }] }]],
  ['a command of another partition', [{ seq: '7', partition: 4, commands: [envelope] }]],
])('one that is nowhere dies: its row holds %s', async (_, rows) => {
  const { works, told } = await filled(rows)
  expect([works.map(({ fault }) => fault?.message), told]).toEqual([['it is not in row 7 of the log, where it should be'], []])
})
