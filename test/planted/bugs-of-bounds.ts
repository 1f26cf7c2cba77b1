// Bugs that would let something grow without a bound, wait for ever, or be passed over.
import type { PlantedBug } from './bugs.ts'

export const bugsOfBounds: readonly PlantedBug[] = [
  {
    name: 'the log is read from the newest number on, whoever may still be inserting below it',
    file: 'adapters/postgres/log-floor.ts',
    find: 'const gone = this.#candidate !== undefined && !writers.some((writer) => this.#candidate?.writers.has(writer))',
    replace: 'const gone = this.#candidate !== undefined',
    test: 'src/adapters/postgres/log-floor.test.ts',
    claim: 'an append that is committed late, behind newer ones that were consumed long ago',
  },
]
