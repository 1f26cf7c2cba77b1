// The packages of a peer, in its own folder: `npm ci` of the repository must not bring them to everybody.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'

const INSTALL_MS = 300_000

/** Brings the peer's packages, as its lock file names them. Their install scripts are not run: none of them needs one. */
export async function installPeer(name: string, folder: string): Promise<void> {
  const [locked, installed] = await Promise.all(
    ['package-lock.json', 'node_modules/.package-lock.json'].map((file) => changedAt(join(folder, file))),
  )
  if (installed !== undefined && locked !== undefined && installed >= locked) return
  process.stderr.write(`${name}: installing its packages\n`)
  const npm = spawn('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--no-progress'], { cwd: folder, timeout: INSTALL_MS })
  let said = ''
  for (const stream of [npm.stdout, npm.stderr]) stream.on('data', (data: Buffer) => (said += data.toString()))
  const [code] = (await once(npm, 'close')) as [number | null]
  if (code === 0) return
  const reason = said.trim().split('\n').slice(-5).join(' ')
  throw new Error(
    `its packages cannot be installed: run 'npm ci' in bench/peers/${name.replace('peer-', '')} where npm's registry can be reached (${reason})`,
  )
}

async function changedAt(file: string): Promise<number | undefined> {
  return (await stat(file).catch(() => undefined))?.mtimeMs
}
