// Shows how far the replay is: a bar on a terminal, a line every two seconds elsewhere.
import { SingleBar, Presets } from 'cli-progress'

export interface Progress {
  update(done: number): void
  stop(): void
}

const LINE_MS = 2000

export function showProgress(total: number, stream: NodeJS.WriteStream): Progress {
  if (stream.isTTY) {
    const bar = new SingleBar(
      { stream, format: '  {bar} {value}/{total} orders, {eta_formatted} left', hideCursor: true },
      Presets.shades_classic,
    )
    bar.start(total, 0)
    return { update: (done) => bar.update(done), stop: () => bar.stop() }
  }
  let done = 0
  const timer = setInterval(() => stream.write(`  ${done}/${total} orders\n`), LINE_MS)
  return { update: (now) => void (done = now), stop: () => clearInterval(timer) }
}
