import { expect, test } from 'vitest'
import { z } from 'zod'
import { command, rejection } from '../../contract/command.ts'
import { defineContract } from '../../contract/define-contract.ts'
import { entity } from '../../contract/entity.ts'
import { event } from '../../contract/event.ts'
import { TwofoldError } from '../../errors.ts'
import { stateful, type AnyStateful } from '../stateful.ts'
import type { HandlerWatch } from './watchdog.ts'
import { Cell } from './cells.ts'
import { CommandRunner, type Ran } from './run-command.ts'

interface Counter {
  total: number
  seen: string[]
}

const input = z.object({ key: z.string(), by: z.int() })
const counters = defineContract('counters', {
  commands: {
    add: command({ input, key: (given) => given.key, reply: z.object({ total: z.int() }) }),
    move: command({ input: input.extend({ to: z.string() }), key: (given) => [given.key, given.to] }),
    refuse: command({ input, key: (given) => given.key, rejections: { tooMuch: rejection(z.object({ total: z.int() })) } }),
    fail: command({ input, key: (given) => given.key }),
    leak: command({ input, key: (given) => given.key, reply: z.object({ total: z.int() }) }),
    lie: command({ input, key: (given) => given.key, reply: z.object({ total: z.int() }) }),
    clear: command({ input, key: (given) => given.key }),
    swap: command({ input, key: (given) => given.key }),
    touch: command({ input, key: (given) => given.key }),
    late: command({ input, key: (given) => given.key }),
    cycle: command({ input, key: (given) => given.key }),
    wait: command({ input, key: (given) => given.key }),
  },
  events: { added: event(z.object({ by: z.int(), seen: z.array(z.string()) })) },
})

let lateEmit: () => void = () => undefined
const side = stateful(counters, {
  entity: entity(counters, { initial: (): Counter => ({ total: 0, seen: [] }) }),
  handlers: {
    add(counter, { by, key }, { emit }) {
      counter.total += by
      counter.seen.push(key)
      emit.added({ by, seen: counter.seen })
      counter.seen.push('after the emit')
      return { total: counter.total }
    },
    move([from, to], { by }) {
      from.total -= by
      to.total += by
    },
    refuse(counter, _, { emit, reject }) {
      counter.total = 99
      emit.added({ by: 1, seen: [] })
      return reject.tooMuch({ total: counter.total })
    },
    fail(counter) {
      counter.total = 99
      throw new Error('boom')
    },
    leak: (counter) => counter,
    lie: () => ({ total: 'many' as unknown as number }),
    clear: (counter, _, { remove }) => remove(counter) as undefined,
    swap: (counter, { by }, { replace }) => replace(counter, { total: by, seen: ['swapped'] }) as undefined,
    touch: () => undefined,
    late(_, { by }, { emit }) {
      lateEmit = () => emit.added({ by, seen: [] })
    },
    cycle(counter) {
      ;(counter as unknown as { self: unknown }).self = counter
    },
    // The compiler refuses this (test/types/wrong/handlers.ts); a program without types does not.
    wait: (async (counter: Counter) => {
      counter.total = 99
      await Promise.resolve()
      counter.total = 100
      throw new Error('too late')
    }) as unknown as () => undefined,
  },
})
const runner = new CommandRunner(side as unknown as AnyStateful)
const now = new Date(0)
const cellOf = (key: string, total?: number): Cell =>
  new Cell(
    side.entity,
    key,
    total === undefined ? undefined : { service: 'counters', key, version: 3, shape: 1, state: JSON.stringify({ total, seen: [] }) },
  )
const run = (name: string, cells: Cell[], given: object = {}): Ran =>
  runner.run(name, JSON.stringify({ key: 'a', by: 2, ...given }), cells, { commandId: 'id', now })

test('a success keeps the state, raises the version and gives reply and events as text', () => {
  const cell = cellOf('a', 5)
  const ran = run('add', [cell])
  expect(ran).toMatchObject({ status: 'succeeded', reply: '{"total":7}', events: [{ event: { name: 'added', version: 1 } }] })
  expect(cell).toMatchObject({ version: 4, stored: 3, exists: true })
})

test('an event holds what was emitted, not what the state became afterwards', () => {
  const ran = run('add', [cellOf('a')])
  expect(ran.status === 'succeeded' && ran.events[0]?.data).toBe('{"by":2,"seen":["a"]}')
})

test('a rejection and a throw leave no trace', () => {
  const cell = cellOf('a', 5)
  expect(run('refuse', [cell])).toEqual({ status: 'rejected', code: 'tooMuch', data: '{"total":99}' })
  expect(run('fail', [cell])).toMatchObject({ status: 'failed', error: new Error('boom') })
  expect(cell.version).toBe(3)
  expect(run('add', [cell])).toMatchObject({ reply: '{"total":7}' })
})

test('the same key twice is the same object, so nothing is made out of nothing', () => {
  const cell = cellOf('a', 5)
  run('move', [cell, cell], { to: 'a' })
  expect(JSON.parse(cell.text)).toEqual({ total: 5, seen: [] })
  expect(cell.version).toBe(3)
})

test('both of two keys change', () => {
  const cells = [cellOf('a', 5), cellOf('b')]
  expect(run('move', cells, { to: 'b' })).toMatchObject({ status: 'succeeded' })
  expect(cells.map((cell) => [JSON.parse(cell.text).total, cell.version])).toEqual([
    [3, 4],
    [2, 1],
  ])
})

test('a command that leaves the state as it was does not raise the version', () => {
  const cells = [cellOf('a', 5), cellOf('new')]
  for (const cell of cells) expect(run('touch', [cell])).toMatchObject({ status: 'succeeded' })
  expect(cells.map((cell) => [cell.version, cell.exists])).toEqual([
    [3, true],
    [0, false],
  ])
})

test('a reply passes its schema: a whole state does not leak, a wrong one fails', () => {
  expect(run('leak', [cellOf('a', 5)])).toMatchObject({ reply: '{"total":5}' })
  expect(run('lie', [cellOf('a', 5)])).toMatchObject({ status: 'failed', error: expect.objectContaining({ code: 'HANDLER_FAILED' }) })
})

test('remove keeps the version going, replace puts another state in the place', () => {
  const cell = cellOf('a', 5)
  run('clear', [cell])
  expect(cell).toMatchObject({ exists: false, version: 4 })
  run('swap', [cell])
  expect(cell).toMatchObject({ exists: true, version: 5, text: '{"total":2,"seen":["swapped"]}' })
})

test('input is validated again, because it may have waited through a deploy', () => {
  expect(run('add', [cellOf('a')], { by: 'two' })).toMatchObject({ status: 'failed', error: expect.any(TwofoldError) })
  expect(run('unheardOf', [cellOf('a')])).toMatchObject({ status: 'failed', error: expect.objectContaining({ code: 'UNKNOWN_COMMAND' }) })
})

test('an emit after the handler has returned is refused', () => {
  run('late', [cellOf('a')])
  expect(lateEmit).toThrow(/after its handler had returned/)
})

test('an asynchronous handler fails its command, and what becomes of its promise neither changes the state nor ends the process', async () => {
  const cell = cellOf('a', 5)
  const unhandled: unknown[] = []
  const listener = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', listener)
  expect(run('wait', [cell])).toMatchObject({ status: 'failed', error: expect.objectContaining({ code: 'HANDLER_MISUSED' }) })
  // Node tells of an unhandled rejection once the promises of a turn are settled.
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate)
  process.off('unhandledRejection', listener)
  expect(unhandled).toEqual([])
  expect(run('add', [cell])).toMatchObject({ reply: '{"total":7}' })
})

test('a state that is not JSON fails the command and leaves no trace', () => {
  const cell = cellOf('a', 5)
  expect(run('cycle', [cell]).status).toBe('failed')
  expect(run('add', [cell])).toMatchObject({ reply: '{"total":7}' })
})

const pairInput = z.object({ keys: z.array(z.string()), by: z.int() })
const plain = defineContract('plain', {
  commands: {
    take: command({ input: pairInput, key: ({ keys }) => keys }),
    name: command({ input: pairInput, key: ({ keys }) => keys }),
    drop: command({ input: pairInput, key: ({ keys }) => keys }),
    either: command({
      input: pairInput,
      key: ({ keys }): string | string[] => (keys.length === 1 ? (keys[0] ?? '') : keys),
      reply: z.object({ got: z.string() }),
    }),
    one: command({ input: pairInput, key: ({ keys }) => keys[0] ?? '' }),
    touch: command({ input: pairInput, key: ({ keys }) => keys }),
  },
})
const plainSide = stateful(plain, {
  entity: entity(plain, { initial: (): number => 5 }),
  handlers: {
    take([from = 0, to = 0], { by }, { replace }) {
      replace(to, to + by)
      replace(from, from - by)
    },
    name([from = 0, to = 0], { keys: [first, second], by }, { replace }) {
      replace(to, to + by, second)
      replace(from, from - by, first)
    },
    drop([, second = 0], { keys }, { remove, exists }) {
      if (exists(second, keys[1])) remove(second, keys[1])
    },
    either: (state) => ({ got: Array.isArray(state) ? `a list of ${state.length}` : 'one' }),
    one: () => undefined,
    touch: () => undefined,
  },
})
const plainRunner = new CommandRunner(plainSide as unknown as AnyStateful)
const plainCells = (...states: (number | undefined)[]): Cell[] =>
  states.map((state, at) => {
    const key = `k${at}`
    return new Cell(
      plainSide.entity,
      key,
      state === undefined ? undefined : { service: 'plain', key, version: 3, shape: 1, state: `${state}` },
    )
  })
const runPlain = (name: string, cells: Cell[], given: { readonly creates?: boolean } = {}): Ran =>
  plainRunner.run(name, JSON.stringify({ keys: cells.map(({ key }) => key), by: 2 }), cells, { commandId: 'id', now, ...given })

test('equal plain states of several keys are not mixed up: their key tells them apart, and without it the command fails', () => {
  const cells = plainCells(7, 7)
  expect(runPlain('take', cells)).toMatchObject({
    status: 'failed',
    error: { code: 'HANDLER_MISUSED', message: expect.stringContaining('equal states') },
  })
  expect(cells.map(({ text, version }) => [text, version])).toEqual([
    ['7', 3],
    ['7', 3],
  ])
  expect(runPlain('name', cells).status).toBe('succeeded')
  expect(cells.map(({ text }) => text)).toEqual(['5', '9'])
  // Here the first is replaced by what the second was.
  const crossing = plainCells(9, 7)
  expect([runPlain('name', crossing).status, crossing.map(({ text }) => text)]).toEqual(['succeeded', ['7', '9']])
})

test('one of several keys with equal plain states is removed, and no other', () => {
  const cells = plainCells(7, 7, 7)
  expect(runPlain('drop', cells).status).toBe('succeeded')
  expect(cells.map(({ exists }) => exists)).toEqual([true, false, true])
})

test('whether a handler gets one state or a list follows from the key of this input, not of an earlier one', () => {
  const reply = (count: number): Ran => runPlain('either', plainCells(...Array.from({ length: count }, () => 1)))
  expect([reply(1), reply(2), reply(1)]).toMatchObject([
    { reply: '{"got":"one"}' },
    { reply: '{"got":"a list of 2"}' },
    { reply: '{"got":"one"}' },
  ])
})

test('a command with more keys than its contract has now fails and does not run on the first alone', () => {
  expect(runPlain('one', plainCells(1, 1))).toMatchObject({ status: 'failed', error: { code: 'HANDLER_MISUSED' } })
})

test('what creates an entity creates it once, also where its handler leaves it as initial has it', () => {
  const [home, other] = plainCells(undefined, undefined) as [Cell, Cell]
  expect(runPlain('touch', [home, other], { creates: true }).status).toBe('succeeded')
  expect([home, other].map(({ exists, version, text }) => [exists, version, text])).toEqual([
    [true, 1, '5'],
    [false, 0, '5'],
  ])
})

test('what a handler makes of one state out of another is not the same object: a later change of one leaves the other', () => {
  const cells = [cellOf('a', 5), cellOf('b', 1)]
  const copying = new CommandRunner({
    ...side,
    handlers: {
      ...side.handlers,
      move([from, to]: [Counter, Counter], _: unknown, { replace }: { replace: (current: Counter, next: Counter) => void }) {
        to.seen = from.seen
        replace(from, to)
      },
    },
  } as unknown as AnyStateful)
  expect(copying.run('move', JSON.stringify({ key: 'a', to: 'b', by: 2 }), cells, { commandId: 'id', now }).status).toBe('succeeded')
  run('add', [cells[0] as Cell])
  run('add', [cells[1] as Cell], { key: 'b' })
  expect(cells.map(({ text }) => JSON.parse(text).seen)).toEqual([
    ['a', 'after the emit'],
    ['b', 'after the emit'],
  ])
})

test('initial and upgrades run under watch and fail the command they run for, which may be tried again', () => {
  const heard: string[] = []
  const watch: HandlerWatch = { began: (id) => void heard.push(`began ${id}`), ended: () => void heard.push('ended') }
  let fails = true
  const upgrade = (old: Counter): Counter => {
    heard.push('upgraded')
    if (fails) throw new Error('no upgrade')
    return { ...old, total: old.total * 100 }
  }
  const lifted = { ...side, entity: entity(counters, { initial: (): Counter => ({ total: 0, seen: [] }), upgrades: [upgrade] }) }
  const watched = new CommandRunner(lifted as unknown as AnyStateful, watch)
  const cell = new Cell(lifted.entity, 'a', { service: 'counters', key: 'a', version: 3, shape: 1, state: '{"total":2,"seen":[]}' })
  expect(heard).toEqual([])
  const add = (): Ran => watched.run('add', JSON.stringify({ key: 'a', by: 2 }), [cell], { commandId: 'id', now })
  expect(add()).toMatchObject({ status: 'failed', error: new Error('no upgrade') })
  expect(heard).toEqual(['began id', 'upgraded', 'ended'])
  fails = false
  expect(add()).toMatchObject({ status: 'succeeded', reply: '{"total":202}' })
  expect(cell.version).toBe(4)
})
