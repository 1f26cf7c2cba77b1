// What this program runs on.
import { arch, availableParallelism, freemem, platform, totalmem } from 'node:os'
import { nodeFault } from '../../app/node-version.ts'
import type { Finding } from './check.ts'
import { bytesOf, countOf } from './figures.ts'

/** `version` as in `process.versions.node`. */
export function lookAtMachine(version: string): Finding {
  const tooOld = nodeFault(version)
  if (tooOld !== undefined) return { status: 'fault', found: tooOld }
  const memory = `${bytesOf(totalmem())} of memory (${bytesOf(freemem())} free)`
  return { status: 'ok', found: `Node ${version} on ${platform()} ${arch()}, ${countOf(availableParallelism(), 'core')}, ${memory}` }
}
