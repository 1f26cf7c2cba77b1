// `twofold/testing`: what tests of services are written with.
export { given } from './given.ts'
export type { EmittedBy, Happened, RunAt, When } from './given.ts'
export { checkFinished, checkOnce, checkOrder, checkRepeats, checkSum, checkVersions, type Effect } from './check-effects.ts'
export { History, operationsOf, type HistoryEntry, type Operation } from './history.ts'
export { checkLinearizable, type Model } from './linearizable.ts'
export { memoryCarrier, type MemoryCarrier } from './memory-carrier.ts'
export {
  carrierConformance,
  type ConformanceBroker,
  type ConformanceCase,
  type ConformanceGround,
  type ConformanceSubject,
  type ConformanceTopic,
  type Entry,
  type Instance,
} from './conformance/carrier-conformance.ts'
