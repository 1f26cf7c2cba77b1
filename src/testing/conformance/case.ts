// A case before it has its ground.
import type { CarrierFeatures } from '../../ports/carrier.ts'
import type { CommandLogFeatures } from '../../ports/command-log.ts'
import type { ConformanceBroker, ConformanceGround, ConformanceSubject, ConformanceTopic, Entry } from './carrier-conformance.ts'

export interface Case {
  readonly name: string
  readonly topic: ConformanceTopic
  readonly check: (ground: ConformanceGround, entry: Entry, broker: ConformanceBroker | undefined) => Promise<void>
  /** Why it says nothing of what is tested, where that is so. */
  readonly saysNothing?: (subject: Pick<ConformanceSubject, 'features' | 'broker'>) => string | undefined
}

/** Whether these are the features of PostgreSQL's log. */
export function isLog(features: CarrierFeatures | CommandLogFeatures): features is CommandLogFeatures {
  return 'claimsWithAppend' in features
}
