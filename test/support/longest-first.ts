// The order of the test files: the long ones first, so that no worker is left alone with one of them at the end.
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * With two workers the first takes the crash points, which keep both cores busy, and then the planted bugs, which mostly wait; the second
 * takes the next two meanwhile. In one run without this order the two longest came last and at the same time: 1,240 s were not enough for
 * what takes 1,206 s one file after the other.
 */
const LONGEST = ['test/crash/crash', 'test/e2e/kill', 'test/carriers/conformance', 'test/planted/planted-bugs', 'test/cluster/poison']

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- Vitest's own name
    const sorted = await super.sort(files)
    return sorted.toSorted((a, b) => this.#place(a) - this.#place(b))
  }

  #place({ moduleId }: TestSpecification): number {
    const path = relative(this.ctx.config.root, moduleId)
    const place = LONGEST.findIndex((file) => path === `${file}.test.ts`)
    return place === -1 ? LONGEST.length : place
  }
}
