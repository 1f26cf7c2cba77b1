import { expect, test } from 'vitest'
import { CrashPoints, parseCrashPoints, type ArmedPoint } from './crash-points.ts'

function armed(text: string): { points: CrashPoints; signals: string[]; said: string[] } {
  const [signals, said]: [string[], string[]] = [[], []]
  const note = (_: object, message: string): void => void said.push(message)
  const log = { debug: note, info: note, warn: note, error: note }
  const points = new CrashPoints({ armed: parseCrashPoints(text).armed, log, signal: (name) => void signals.push(name) })
  return { points, signals, said }
}

test('an armed place acts at the pass it was armed for, once, and says so before', () => {
  const { points, signals, said } = armed('engine.commit:2:kill, engine.taken:1:stop')
  expect(said).toHaveLength(2)
  void points.reach('engine.commit')
  void points.reach('engine.loaded')
  expect(signals).toEqual([])
  void points.reach('engine.commit')
  expect(signals).toEqual(['SIGKILL'])
  void points.reach('engine.taken')
  void points.reach('engine.commit')
  expect(signals).toEqual(['SIGKILL', 'SIGSTOP'])
  expect(said.at(-1)).toBe('a crash point is reached')
})

test('a place fails, waits, or loses the connection it is given', async () => {
  const { points } = armed('engine.commit:1:throw,engine.loaded:1:delay=1,engine.commit-sent:1:drop')
  expect(() => points.reach('engine.commit')).toThrow("the crash point 'engine.commit' was armed to fail at pass 1")
  await expect(points.reach('engine.loaded')).resolves.toBeUndefined()
  let dropped = 0
  void points.reach('engine.commit-sent', () => void (dropped += 1))
  expect(dropped).toBe(1)
})

test('what cannot be armed is refused with a sentence each', () => {
  const words = (text: string): readonly string[] => parseCrashPoints(text).faults
  expect(words('engine.commit')).toEqual([
    "'engine.commit' is not name:n:action, where action is kill, stop, throw, drop or delay=<milliseconds>",
  ])
  expect(words('engine.nowhere:1:kill')[0]).toMatch(/^'engine\.nowhere' is no crash point; there are accept\.validated, /)
  expect(words('engine.commit:0:kill')[0]).toMatch(/can never happen/)
  expect(words('engine.commit:1:drop')[0]).toMatch(/^'engine\.commit' has no connection to drop; these have: accept\.append-sent, /)
  expect(words('engine.commit:1:delay=60001')[0]).toMatch(/waits longer than 60000 ms/)
  const both: ArmedPoint[] = [{ point: 'engine.commit', pass: 7, action: { delayMs: 50 } }]
  expect(parseCrashPoints('engine.commit:7:delay=50,nothing')).toMatchObject({
    armed: both,
    faults: [expect.stringContaining("'nothing'")],
  })
})
