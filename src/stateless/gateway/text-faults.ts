// Text that no database keeps as it is. It is refused where it comes in: once stored, it would stop every reader behind it.
import type { Fault } from '../../contract/schema.ts'
import type { TwofoldError } from '../../errors.ts'
import { nestFaults } from './nested-faults.ts'
import { invalidInput } from './problem.ts'

/** How deeply lists and objects of an input may be nested. Beyond it, whoever serializes the input later would run out of stack. */
export const DEPTH_MAX = 100

/**
 * Adds a fault for every text with NUL, which PostgreSQL refuses (SQLSTATE 22021), or with half of a surrogate pair, which has no UTF-8;
 * field names included.
 * @throws TwofoldError INVALID_INPUT for an input that is nested too deeply.
 */
export function addTextFaults(value: unknown, faults: Fault[], depth = 0): void {
  if (typeof value === 'string') {
    const message = textFault(value)
    if (message !== undefined) faults.push({ path: '', message })
  } else if (typeof value === 'object' && value !== null) {
    // Alone and at once: validators walk the input by recursion as well.
    if (depth === DEPTH_MAX) throw tooDeep()
    for (const name of Object.keys(value)) {
      const fault = textFault(name)
      if (fault === undefined) {
        const before = faults.length
        addTextFaults((value as Record<string, unknown>)[name], faults, depth + 1)
        if (faults.length > before) nestFaults(faults, before, name)
      } else faults.push({ path: '', message: `a field name ${fault}` })
    }
  }
}

export function tooDeep(): TwofoldError {
  return invalidInput([{ path: '', message: `must not be nested more than ${DEPTH_MAX} levels deep` }])
}

function textFault(text: string): string | undefined {
  if (text.includes('\0')) return 'must not contain the NUL character'
  return text.isWellFormed() ? undefined : 'must be well-formed Unicode (it has a lone surrogate)'
}
