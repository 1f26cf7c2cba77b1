// Time and identity, made on the database's clock so that every instance agrees.

export interface CommandIds {
  /** A new command id: uuidv7 whose time is the database's (the process clock only bridges the time between two readings of it). */
  next(): string
  /** The database's time as this process knows it, in milliseconds since 1970. */
  now(): number
}

/** When a command got its id, in milliseconds since 1970 on the database's clock: the first 48 bits of a uuidv7. */
export function madeAt(commandId: string): number {
  return Number.parseInt(commandId.slice(0, 8) + commandId.slice(9, 13), 16)
}
