// The loss of a connection that a test asks for at the moment in which a command is about to be published.
import type { OpenCarrier } from '../../ports/carrier.ts'

/** Not before the command is out: it may be stored, and its confirmation never comes. */
export function dropSoon(carrier: Pick<OpenCarrier, 'drop'>): void {
  // It goes out in the next turn of the event loop.
  setImmediate(() => setImmediate(() => carrier.drop?.()))
}
