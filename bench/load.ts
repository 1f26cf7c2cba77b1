// How load is made: callers that wait for their answer before they send again.
import { build, type Histogram } from 'hdr-histogram-js'

/** What a load did. Latencies are in milliseconds. */
export interface Load {
  readonly sent: number
  readonly seconds: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** A second thousand-fold: histograms count whole numbers. */
const MICROSECONDS = 1000

type Send = (at: number, caller: number) => Promise<unknown>

/** `callers` send one after the other for `seconds`; `send` gets a running number and the caller's. */
export function closedLoad(callers: number, seconds: number, send: Send): Promise<Load> {
  const endsAt = performance.now() + seconds * 1000
  return load(callers, (_, now) => now < endsAt, send)
}

/** `count` commands by `callers`, however long it takes. */
export function countedLoad(callers: number, count: number, send: Send): Promise<Load> {
  return load(callers, (sent) => sent < count, send)
}

/** The first failure ends all. */
async function load(callers: number, goesOn: (sent: number, now: number) => boolean, send: Send): Promise<Load> {
  const histogram = newHistogram()
  const started = performance.now()
  let sent = 0
  const stopped = new AbortController()
  const caller = async (number: number): Promise<void> => {
    for (let before = performance.now(); goesOn(sent, before) && !stopped.signal.aborted;) {
      await send(sent++, number)
      const after = performance.now()
      histogram.recordValue(Math.round((after - before) * MICROSECONDS))
      before = after
    }
  }
  await Promise.all(Array.from({ length: callers }, (_, number) => caller(number))).finally(() => stopped.abort())
  return loadOf(histogram, sent, started)
}

/** Microseconds from 1 to two minutes. */
export function newHistogram(): Histogram {
  return build({ lowestDiscernibleValue: 1, highestTrackableValue: 120_000_000, numberOfSignificantValueDigits: 3 })
}

export function loadOf(histogram: Histogram, sent: number, started: number): Load {
  const seconds = (performance.now() - started) / 1000
  const at = (percentile: number): number => histogram.getValueAtPercentile(percentile) / MICROSECONDS
  return { sent, seconds, perSecond: sent / seconds, p50Ms: at(50), p99Ms: at(99) }
}
