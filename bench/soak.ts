// `npm run soak`: millions of commands, a reader that holds a snapshot in the middle, and then: is everything as fast and as small as before?
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { bankBackend } from './backend.ts'
import { verifyBank } from './bank.ts'
import { withCpu } from './cpu.ts'
import { machineOf } from './results.ts'
import { withDatabase } from './scenario.ts'
import { benchServer } from './server.ts'
import { credit, type Way } from './soak/credits.ts'
import { whileHeld } from './soak/held-snapshot.ts'
import { machineCpu, shareOfOthers } from './soak/machine-cpu.ts'
import { between, reference } from './soak/reference.ts'
import { tableSizes } from './soak/table-sizes.ts'
import { faultsOf, type SoakWindow } from './soak/verdict.ts'

const HELP = `npm run soak -- [--commands N] [--window N] [--keys N] [--hold-seconds N] [--url POSTGRES]

  --commands      half of them direct and half through the log; those that run while a snapshot is held come on top (default 8000000)
  --window        commands between two looks at cost and sizes (default 100000)
  --keys          accounts that they credit (default 10000)
  --hold-seconds  how long a reader holds a snapshot in the middle; 0: none does (default 60)
  --url           a PostgreSQL server to run on (default: DATABASE_URL, or an embedded one)
`

const { values } = parseArgs({
  options: {
    commands: { type: 'string', default: '8000000' },
    window: { type: 'string', default: '100000' },
    keys: { type: 'string', default: '10000' },
    'hold-seconds': { type: 'string', default: '60' },
    url: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit()
}
const [commands, size, keys, holdSeconds] = [values.commands, values.window, values.keys, values['hold-seconds']].map(Number) as [
  number,
  number,
  number,
  number,
]

/** Neither the code nor the caches are warm at first; that is no rot. */
const WARM_UP = 200_000
const REFERENCE_WARM_UP = 5

await using server = await benchServer(values.url ?? process.env['DATABASE_URL'])
const { machine, versions } = await machineOf(server.url)
const windows = await withDatabase(server.url, async (url, client) => {
  const backend = await bankBackend(url)
  const measured: SoakWindow[] = []
  try {
    for (const way of ['direct', 'log'] as const) await credit(backend, client, way, WARM_UP / 2, keys)
    let beside = await reference(client)
    for (let warm = 0; warm < REFERENCE_WARM_UP; warm += 1) beside = await reference(client)
    let done = 0
    const next = async (heldSince?: number): Promise<void> => {
      // Both ways get the same share, in turns, so that first and last windows of each are compared with each other.
      const way: Way = (done / size) % 2 === 0 ? 'direct' : 'log'
      const started = performance.now()
      const before = machineCpu()
      const { nodeCpuUs, postgresCpuUs = 0 } = await withCpu(
        client,
        () => credit(backend, client, way, size, keys, done),
        () => size,
      )
      const perSecond = size / ((performance.now() - started) / 1000)
      const othersShare = shareOfOthers(before, machineCpu(), (nodeCpuUs + postgresCpuUs) * size)
      const after = await reference(client)
      const cost = { perSecond, nodeCpuUs, postgresCpuUs, reference: between(beside, after), othersShare }
      beside = after
      done += size
      const held = heldSince === undefined ? {} : { versionsHeld: (done - heldSince) / keys }
      measured.push({ way, done, ...cost, ...held, tables: await tableSizes(client) })
      print(measured.at(-1) as SoakWindow)
    }
    const half = commands / 2 / size
    for (let at = 0; at < half; at += 1) await next()
    const heldFrom = done
    await whileHeld(url, holdSeconds, () => next(heldFrom))
    // As many again as before it.
    for (let at = 0; at < half; at += 1) await next()
    await verifyBank(client, { done: done + WARM_UP, cents: done + WARM_UP })
    return measured
  } finally {
    await backend.stop()
  }
})

const faults = faultsOf(windows)
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
const folder = fileURLToPath(new URL('results', import.meta.url))
await mkdir(folder, { recursive: true })
const path = join(folder, `soak-${new Date().toISOString().slice(0, 10)}-${commit}.json`)
await writeFile(
  path,
  `${JSON.stringify({ machine, versions, settings: { commands, size, keys, holdSeconds }, faults, windows }, null, 1)}\n`,
)
process.stdout.write(`\nkept in ${path}\n${faults.length === 0 ? 'nothing rots' : faults.join('\n')}\n`)
if (faults.length > 0) process.exitCode = 1

function print({
  way,
  done,
  perSecond,
  nodeCpuUs,
  postgresCpuUs,
  reference: { nodeUs, postgresUs = 0 },
  versionsHeld,
  tables,
}: SoakWindow): void {
  const mib = (name: string): string => ((tables[name]?.total ?? 0) / 2 ** 20).toFixed(0).padStart(5)
  process.stdout.write(
    `${String(done).padStart(8)} ${way.padEnd(6)} ${perSecond.toFixed(0).padStart(7)}/s  ${nodeCpuUs.toFixed(1)} + ${postgresCpuUs.toFixed(1)} µs` +
      `  reference ${(nodeUs / 1000).toFixed(0)} + ${(postgresUs / 1000).toFixed(0)} ms` +
      `  MiB: log${mib('_command')} entity${mib('_entity')} outcome${mib('_outcome')} event${mib('_event')}${versionsHeld === undefined ? '' : '  snapshot held'}\n`,
  )
}
