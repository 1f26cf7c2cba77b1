// What a command may demand of its home entity (RFC 9110 §13.1). It travels with the command and is checked where the state is: whoever
// checked it earlier would decide on a version that may have changed by then.

/** `versions`: one of these, and none else. `present`: it exists. `absent`: it does not. */
export type Condition = { readonly versions: readonly number[] } | 'present' | 'absent'

/** The code under which a command whose condition does not hold is rejected. Codes of contracts are camelCase: none is called so. */
export const PRECONDITION_FAILED = 'PRECONDITION_FAILED'

/** The code under which a command is rejected whose condition cannot be decided, because the state of its service has no versions. */
export const PRECONDITION_UNSUPPORTED = 'PRECONDITION_UNSUPPORTED'

/** Whether it is one of these: what travels may have been made by a newer program. */
export function isKnown(condition: unknown): condition is Condition {
  if (condition === 'present' || condition === 'absent') return true
  return typeof condition === 'object' && condition !== null && 'versions' in condition && Array.isArray(condition.versions)
}

/** Whether the condition holds of an entity. A removed one does not exist, whatever its version was. */
export function conditionHolds(condition: Condition, entity: { readonly version: number; readonly exists: boolean }): boolean {
  if (condition === 'absent') return !entity.exists
  return entity.exists && (condition === 'present' || condition.versions.includes(entity.version))
}
