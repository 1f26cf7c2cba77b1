// Bugs in what looks for bugs: checkers of histories that let a violation pass, or see one where there is none.
import type { PlantedBug } from './bugs.ts'

const effects = 'testing/check-effects.ts'
const effectsTest = 'src/testing/check-effects.test.ts'
const linearizable = 'testing/linearizable.ts'
const linearizableTest = 'src/testing/linearizable.test.ts'

export const checkerBugs: readonly PlantedBug[] = [
  {
    name: 'a lost command is not found',
    file: effects,
    find: 'given.accepted.filter((id) => !finished.has(id))',
    replace: 'given.accepted.filter((id) => !sent.has(id))',
    test: effectsTest,
    claim: 'one lost, doubled or invented command is found',
  },
  {
    name: 'a command that is finished twice is not found',
    file: effects,
    find: 'given.finished.filter((id) => !finished.delete(id))',
    replace: 'given.finished.filter((id) => !finished.has(id))',
    test: effectsTest,
    claim: 'one lost, doubled or invented command is found',
  },
  {
    name: 'a second effect on one key is not found',
    file: effects,
    find: 'return seen.size === seen.add(effect).size',
    replace: 'return seen.size > seen.add(effect).size',
    test: effectsTest,
    claim: 'one lost, doubled or invented command is found',
  },
  {
    name: 'a gap in the versions of a key is not found',
    file: effects,
    find: 'versions.findIndex((version, at) => version !== at + 1)',
    replace: 'versions.findIndex((version, at) => version < at + 1)',
    test: effectsTest,
    claim: 'a version that is missing, or there twice',
  },
  {
    name: 'order is judged across clients',
    file: effects,
    find: 'const place = JSON.stringify([client, key])',
    replace: 'const place = JSON.stringify([key, client === key])',
    test: effectsTest,
    claim: 'two commands of a client that changed places',
  },
  {
    name: 'commands that changed places are not found',
    file: effects,
    find: 'before.version > version)',
    replace: 'before.version > version + 1_000)',
    test: effectsTest,
    claim: 'any two effects of one key that changed places',
  },
  {
    name: 'money that appears is not found',
    file: effects,
    find: 'sum === total ? []',
    replace: 'sum >= total ? []',
    test: effectsTest,
    claim: 'money that moves stays, and one cent that does not',
  },
  {
    name: 'two answers to one key are not found',
    file: effects,
    find: 'else if (before !== text)',
    replace: 'else if (before.length !== text.length)',
    test: effectsTest,
    claim: 'of any answers, those to one Idempotency-Key that differ',
  },
  {
    name: 'what was told to have failed counts as done',
    file: linearizable,
    find: "operations.filter(({ outcome }) => outcome !== 'fail'),",
    replace: '[...operations],',
    test: linearizableTest,
    claim: 'what failed has not happened',
  },
  {
    name: 'what ended before may come after',
    file: linearizable,
    find: '    const last = taken.pop()\n    if (last === undefined) return false',
    replace: '    const last = taken.pop()\n    if (last === undefined) return operations.length > 1',
    test: linearizableTest,
    claim: 'of any history the search says what the definition says',
  },
  {
    name: 'what nobody knows the end of must have happened',
    file: linearizable,
    find: "let left = operations.filter(({ outcome }) => outcome === 'ok').length",
    replace: 'let left = operations.length',
    test: linearizableTest,
    claim: 'a history of a register is explained',
  },
  {
    name: 'a state that was tried with other operations is not tried again',
    file: linearizable,
    find: 'const key = `${done.join()}|${JSON.stringify(after.state)}`',
    replace: 'const key = JSON.stringify(after.state)',
    test: linearizableTest,
    claim: 'of any history the search says what the definition says',
  },
  {
    name: 'an operation whose answer broke has failed',
    file: 'testing/history.ts',
    find: "note(isFailure(error) ? 'fail' : 'info')",
    replace: "note(isFailure(error) ? 'info' : 'fail')",
    test: linearizableTest,
    claim: 'a history is paired: answers, failures',
  },
]
