// Committed states, read by queries.

/** A committed state as JSON text, with its version (1, 2, 3 …). */
export interface StoredEntity {
  readonly state: string
  readonly version: number
  /** Which of the entity's shapes `state` has: 1 for the first, one more for every upgrade since. */
  readonly shape: number
}

export interface Entities {
  /** The committed state of a key, or `undefined` where no command has made one. Reads the primary. */
  read(service: string, key: string): Promise<StoredEntity | undefined>
}
