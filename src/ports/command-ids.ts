// Time and identity, made on the database's clock so that every instance agrees.

export interface CommandIds {
  /** A new command id: uuidv7 whose time is the database's (the process clock only bridges the time between two readings of it). */
  next(): string
  /** The database's time as this process knows it, in milliseconds since 1970. */
  now(): number
}
