// Whether concurrent operations can be put in one order that explains every answer and respects real time: each takes effect at one moment
// between its call and its answer (Herlihy and Wing, 1990). Key by key, because a set of objects is linearizable where each of them is.
//
// The search is that of Wing and Gong with Lowe's cache of what was tried: it walks the calls and answers in time, takes any call whose
// operation fits the state, and goes back where an answer is reached whose operation did not fit anywhere before it.
import type { Operation } from './history.ts'

/** A thing that is changed by one operation at a time, for instance a register with compare-and-set. `State` is plain JSON. */
export interface Model<State> {
  /** The state of a key that nothing was done to. */
  readonly initial: State
  /** What an operation does, and what its caller must see. Pure; states and answers are compared as JSON. */
  readonly apply: (state: State, operation: Pick<Operation, 'f' | 'input'>) => { readonly state: State; readonly output: unknown }
}

/**
 * Every key whose operations no order explains, as a sentence. `operations`: as `operationsOf` makes them, of any number of keys, in any order;
 * each key begins at `model.initial`. `fail` must not have happened; `info` may have, or not, or may still.
 * A search that looks at more than `statesMax` states of one key (default 1,000,000) counts as a violation: unknown is not good. Raise it where
 * memory allows; fewer clients or more keys help more.
 * @throws what `model.apply` throws
 */
export function checkLinearizable<State>(operations: readonly Operation[], model: Model<State>, statesMax = 1_000_000): string[] {
  const byKey = Map.groupBy(
    operations.filter(({ outcome }) => outcome !== 'fail'),
    ({ key }) => key,
  )
  return [...byKey].flatMap(([key, own]) => {
    const explained = explain(own, model, statesMax)
    if (explained === true) return []
    const count = `${own.length} operations on '${key}'`
    return explained === false
      ? [`no order explains the ${count}: ${own.slice(0, 20).map(spoken).join(', ')}${own.length > 20 ? ', …' : ''}`]
      : [`the search for an order of the ${count} gave up after ${statesMax} states; use fewer clients or more keys`]
  })
}

/** A call or an answer in a doubly linked list, so that an operation can be taken out and put back in one step. */
interface Node {
  readonly at: number
  readonly operation: Operation
  readonly isCall: boolean
  /** The other one of the two. */
  match: Node | undefined
  before: Node | undefined
  next: Node | undefined
}

function explain<State>(operations: readonly Operation[], model: Model<State>, statesMax: number): boolean | undefined {
  const head = linked(operations)
  const taken: { readonly node: Node; readonly state: State }[] = []
  const done = new Uint32Array(Math.ceil(operations.length / 32) || 1)
  const tried = new Set<string>()
  let state = model.initial
  let left = operations.filter(({ outcome }) => outcome === 'ok').length
  let node = head.next
  while (left > 0 && node !== undefined) {
    const after = node.isCall ? fits(model, state, node.operation) : undefined
    const flip = (at: number): void => void (done[at >> 5] = (done[at >> 5] ?? 0) ^ (1 << (at & 31)))
    if (after !== undefined) {
      flip(node.at)
      const key = `${done.join()}|${JSON.stringify(after.state)}`
      if (!tried.has(key)) {
        if (tried.size >= statesMax) return undefined
        tried.add(key)
        taken.push({ node, state })
        state = after.state
        if (node.operation.outcome === 'ok') left -= 1
        takeOut(node)
        node = head.next
        continue
      }
      flip(node.at)
    }
    if (node.isCall) {
      node = node.next
      continue
    }
    // An answer whose operation found no place before it: the last choice was wrong.
    const last = taken.pop()
    if (last === undefined) return false
    state = last.state
    if (last.node.operation.outcome === 'ok') left += 1
    flip(last.node.at)
    putBack(last.node)
    node = last.node.next
  }
  return left === 0
}

function fits<State>(model: Model<State>, state: State, operation: Operation): { readonly state: State } | undefined {
  const after = model.apply(state, operation)
  if (operation.outcome === 'info') return after
  return JSON.stringify(after.output) === JSON.stringify(operation.output) ? after : undefined
}

/** All calls and answers in the order of time; where both happen at once the call comes first, which allows more. */
function linked(operations: readonly Operation[]): Node {
  const nodes = operations.flatMap((operation, at) => {
    const call: Node = { at, operation, isCall: true, match: undefined, before: undefined, next: undefined }
    const answer: Node = { ...call, isCall: false, match: call }
    call.match = answer
    return [call, answer]
  })
  const timeOf = ({ isCall, operation }: Node): number => (isCall ? operation.invokedAt : operation.endedAt)
  nodes.sort((a, b) => (timeOf(a) === timeOf(b) ? Number(b.isCall) - Number(a.isCall) : timeOf(a) - timeOf(b)))
  const head = { at: -1, operation: operations[0] as Operation, isCall: true, match: undefined, before: undefined, next: undefined } as Node
  let last = head
  for (const node of nodes) {
    node.before = last
    last.next = node
    last = node
  }
  return head
}

function takeOut(call: Node): void {
  for (const node of [call, call.match]) {
    if (node === undefined) continue
    if (node.before !== undefined) node.before.next = node.next
    if (node.next !== undefined) node.next.before = node.before
  }
}

/** In the opposite order of `takeOut`, so that each finds the neighbours it left. */
function putBack(call: Node): void {
  for (const node of [call.match, call]) {
    if (node === undefined) continue
    if (node.before !== undefined) node.before.next = node
    if (node.next !== undefined) node.next.before = node
  }
}

function spoken({ process, f, input, output, outcome }: Operation): string {
  return `${process}: ${f}(${JSON.stringify(input)}) → ${outcome === 'ok' ? JSON.stringify(output) : 'unknown'}`
}
