// Latencies: recorded in microseconds, told in milliseconds.
import { build, type Histogram } from 'hdr-histogram-js'

export class Latency {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 3_600_000_000,
    numberOfSignificantValueDigits: 3,
  })

  record(ms: number): void {
    this.#histogram.recordValue(Math.max(1, Math.round(ms * 1000)))
  }

  /** `p50 3.1 ms, p99 12.0 ms, max 40.2 ms`, or `-` when nothing was recorded. */
  toString(): string {
    if (this.#histogram.totalCount === 0) return '-'
    const { p50, p99, max } = this.#percentiles()
    return `p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`
  }

  #percentiles(): { p50: string; p99: string; max: string } {
    const shown = (microseconds: number): string => (microseconds / 1000).toFixed(1)
    const at = (percentile: number): string => shown(this.#histogram.getValueAtPercentile(percentile))
    return { p50: at(50), p99: at(99), max: shown(this.#histogram.maxValue) }
  }
}
