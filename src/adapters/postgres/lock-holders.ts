// Connections that may hold row locks in a transaction while their process does not run: a stopped process keeps what it has locked. They
// bear a name that says whose they are, so that whoever takes over from it can end them.

const LOCK_HOLDER_PREFIX = 'twofold locks '

/**
 * The `application_name` of every connection on which this instance keeps locks over more than one statement: those of cross batches and of
 * SQL handlers. The successor of an instance whose lease has ended terminates the backends of that name.
 */
export function lockHolderName(instanceId: string): string {
  return `${LOCK_HOLDER_PREFIX}${instanceId}`
}
