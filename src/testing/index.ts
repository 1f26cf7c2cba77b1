// `twofold/testing`: what tests of services are written with.
export { given } from './given.ts'
export type { EmittedBy, Happened, RunAt, When } from './given.ts'
