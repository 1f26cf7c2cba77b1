// Leaving a channel or a connection. amqplib answers `close()` with the broker's answer alone: when what it would come by is lost first, it never does.

/** An answer that takes longer than this is not waited for. */
const CLOSE_MS_MAX = 2000

/** A channel or a connection. */
interface Closing {
  close(): Promise<void>
  once(event: 'close' | 'error', listener: () => void): unknown
}

/** Resolves once it is closed or lost, or did not answer for 2 s; also where it was closed before. Never rejects. */
export function closed(closing: Closing): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CLOSE_MS_MAX)
    const done = (): void => {
      clearTimeout(timer)
      resolve()
    }
    closing.once('close', done)
    closing.once('error', done)
    void closing
      .close()
      .catch(() => undefined)
      .finally(done)
  })
}
