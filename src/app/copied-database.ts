// What is said of a database that has its id from another one: a start with a broker is refused, and `twofold doctor` says the same.
import { TwofoldError } from '../errors.ts'

/** A copy and its original would take each other's commands. */
export function copiedDatabase(databaseId: string): TwofoldError {
  const message =
    `this database is a copy, or was moved: its id ${databaseId}, by which its commands are told at the broker, was made in another one; ` +
    `run 'select twofold.new_database_id()' in it where the other one is still used, or 'select twofold.keep_database_id()' where this one takes its place`
  return new TwofoldError('DATABASE_COPIED', message)
}
