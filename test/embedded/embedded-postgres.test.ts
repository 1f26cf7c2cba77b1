import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/adapters/postgres/embedded/embedded-postgres.ts'
import { processesIn, readPidFile, shutDown } from '../../src/adapters/postgres/embedded/server-processes.ts'
import { startingAlone } from '../../src/adapters/postgres/embedded/start-lock.ts'
import { reachableByAll } from '../../src/adapters/postgres/embedded/server-user.ts'
import { type Program, startProgram, until } from '../e2e/program.ts'

const isRoot = process.getuid?.() === 0
const holderFile = fileURLToPath(new URL('./holder.ts', import.meta.url))
const holders: Program[] = []
const handles: EmbeddedPostgres[] = []
// Readable by its owner alone, as mkdtemp makes it: run by root, every test shows that the server's user need not get to the folder by name.
let folder: string
let dataDir: string
let cluster: string
let firstLog: string[] = []

// Most tests share one data folder and take their turns; each starts and leaves it without a server.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twofold-embedded-'))
  dataDir = join(folder, 'data')
  cluster = join(dataDir, 'postgres')
  firstLog = []
  const first = await startEmbeddedPostgres({ dataDir, log: (line) => void firstLog.push(line) })
  await query(first.url, 'create table kept (word text)')
  await first.stop()
})
afterEach(async () => {
  await Promise.all(holders.splice(0).map((holder) => holder.end('SIGKILL')))
  await Promise.all(handles.splice(0).map((handle) => handle.stop()))
  await shutDown(cluster)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function begin(log?: (line: string) => void): Promise<EmbeddedPostgres> {
  const handle = await startEmbeddedPostgres({ dataDir, log, startTimeoutMs: 15_000 })
  handles.push(handle)
  return handle
}

function hold(where = dataDir): Program {
  const holder = startProgram(holderFile, {}, [where])
  holders.push(holder)
  return holder
}

async function heldBy(holder: Program): Promise<{ url: string; adopted: boolean }> {
  const [, json = ''] = await holder.printed(/holding (.+) \./)
  return JSON.parse(json) as { url: string; adopted: boolean }
}

async function query(url: string, text: string): Promise<Record<string, string>[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query<Record<string, string>>(text)).rows
  } finally {
    await client.end()
  }
}

function serverPid(): number {
  const pid = readPidFile(cluster)?.pid
  if (pid === undefined) throw new Error('no server is running')
  return pid
}

/** A zombie is not at work: who reaps it, and when, is the machine's affair. */
function isAtWork(pid: number): boolean {
  return processesIn(cluster).some((each) => each.pid === pid)
}

/** Gives a folder to a user PostgreSQL may run as. */
async function giveAway(path: string): Promise<void> {
  if (isRoot) await chown(path, 65_534, 65_534)
}

test('the first start says what it does and makes a durable database that its password alone opens', async () => {
  expect(firstLog).toEqual([`creating a database in ${dataDir} (first start only)`])
  expect((await stat(join(dataDir, 'password'))).mode & 0o777).toBe(0o600)
  const { url, adopted } = await begin()
  expect(adopted).toBe(false)
  const settings = await query(
    url,
    `select name, setting || coalesce(unit, '') as value from pg_settings where name in
      ('fsync', 'full_page_writes', 'synchronous_commit', 'jit', 'listen_addresses', 'max_wal_size', 'max_connections')`,
  )
  expect(Object.fromEntries(settings.map(({ name, value }) => [name, value]))).toEqual({
    fsync: 'on',
    full_page_writes: 'on',
    synchronous_commit: 'on',
    jit: 'off',
    listen_addresses: '127.0.0.1',
    max_wal_size: '1024MB',
    max_connections: '200',
  })
  const [database] = await query(
    url,
    `select pg_encoding_to_char(encoding) as encoding, datcollate from pg_database where datname = 'postgres'`,
  )
  expect(database).toEqual({ encoding: 'UTF8', datcollate: 'C' })
  const stranger = new URL(url)
  stranger.password = 'guessed'
  await expect(query(stranger.href, 'select 1')).rejects.toMatchObject({ code: '28P01' })
})

test('a second one uses the server of the first, and the last one out stops it in under a second', async () => {
  const [first, second] = [await begin(), await begin()]
  expect([first.adopted, second.adopted]).toEqual([false, true])
  expect(second.url).toBe(first.url)
  await first.stop()
  await expect(query(second.url, 'select 1')).resolves.toHaveLength(1)
  const stoppingAt = performance.now()
  await second.stop()
  expect(performance.now() - stoppingAt).toBeLessThan(1000)
  expect(processesIn(cluster)).toEqual([])
  await second.stop()
})

test('when all leave at once, one of them stops the server', async () => {
  const all = [await begin(), await begin(), await begin(), await begin()]
  await Promise.all(all.map((each) => each.stop()))
  expect(processesIn(cluster)).toEqual([])
})

test.runIf(process.platform === 'linux')('who stops a server does not wait for another one that comes to its folder', async () => {
  const holder = hold()
  await heldBy(holder)
  await holder.end('SIGKILL')
  const standIn = join(folder, 'postgres')
  await copyFile('/bin/sleep', standIn)
  const stopping = shutDown(cluster)
  const next = spawn(standIn, ['60'], { cwd: cluster, stdio: 'ignore' })
  try {
    await Promise.race([stopping, new Promise((_, reject) => setTimeout(() => reject(new Error('it still waits')), 5000))])
    expect(processesIn(cluster).map(({ pid }) => pid)).toEqual([next.pid])
  } finally {
    next.kill()
    await once(next, 'exit')
  }
})

test('one that comes while the last one leaves gets a server', async () => {
  const leaving = await begin()
  const [, next] = await Promise.all([leaving.stop(), begin()])
  await expect(query(next.url, 'select 1')).resolves.toHaveLength(1)
})

test('of several programs that start at once in an empty folder one makes the server and all use it', async () => {
  const empty = join(folder, 'empty')
  const programs = [hold(empty), hold(empty), hold(empty)]
  const held = await Promise.all(programs.map(heldBy))
  expect(held.filter(({ adopted }) => !adopted)).toHaveLength(1)
  expect(new Set(held.map(({ url }) => url)).size).toBe(1)
  expect(await Promise.all(programs.map((program) => program.end('SIGTERM')))).toEqual([0, 0, 0])
  expect(processesIn(join(empty, 'postgres'))).toEqual([])
})

test('a program that is killed leaves its server running, and the next one adopts it', async () => {
  const holder = hold()
  const { url } = await heldBy(holder)
  await query(url, `insert into kept values ('before the kill')`)
  const pid = serverPid()
  await holder.end('SIGKILL')
  const next = await begin()
  expect(next).toMatchObject({ adopted: true, url })
  expect(serverPid()).toBe(pid)
  await next.stop()
  expect(isAtWork(pid)).toBe(false)
})

test('a killed server with a backend that is still busy is recovered from, and nothing committed is lost', async () => {
  const holder = hold()
  const { url } = await heldBy(holder)
  await holder.end('SIGKILL')
  await query(url, `insert into kept values ('before the crash')`)
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  const [{ pid: busy } = { pid: 0 }] = (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows
  // It looks for interrupts and never whether its parent lives.
  const ended = client.query('do $$ begin loop perform 1; end loop; end $$').catch(() => undefined)
  await until('the loop runs', async () => {
    const [row] = await query(url, `select state from pg_stat_activity where pid = ${busy} and query like 'do%'`)
    return row?.['state'] === 'active'
  })
  process.kill(serverPid(), 'SIGKILL')
  await until('only the busy backend is left', () => processesIn(cluster).every(({ pid }) => pid === busy))
  expect(isAtWork(busy)).toBe(true)

  const log: string[] = []
  const next = await begin((line) => void log.push(line))
  expect(next.adopted).toBe(false)
  expect(log).toContain('ending what a killed PostgreSQL left behind')
  expect(isAtWork(busy)).toBe(false)
  expect(await query(next.url, `select word from kept where word = 'before the crash'`)).toHaveLength(1)
  await ended
  await client.end().catch(() => undefined)
})

test('a server that is killed under its programs comes back at the same address, once for all of them', async () => {
  const [first, second] = [await begin(), await begin()]
  const pid = serverPid()
  process.kill(pid, 'SIGKILL')
  await until('the server is back', () =>
    query(first.url, 'select 1').then(
      () => true,
      () => false,
    ),
  )
  expect(serverPid()).not.toBe(pid)
  await until('both have found it', async () => {
    const rows = await query(first.url, `select 1 from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and granted`)
    return rows.length === 2
  })
  expect(processesIn(cluster).filter(({ postmaster }) => postmaster)).toHaveLength(1)
  await first.stop()
  await expect(query(second.url, 'select 1')).resolves.toHaveLength(1)
})

test('a stop that comes while a killed server is being restarted leaves no server behind', async () => {
  let stopped: Promise<void> | undefined
  const postgres: EmbeddedPostgres = await begin(() => {
    stopped ??= postgres.stop()
  })
  process.kill(serverPid(), 'SIGKILL')
  await until('the restart began', () => stopped !== undefined)
  await stopped
  await until('everything is gone', () => processesIn(cluster).length === 0)
})

test('a stop that comes while the new server is coming up takes it down again', async () => {
  const postgres = await begin()
  const killed = serverPid()
  process.kill(killed, 'SIGKILL')
  await until('a new server was launched', () => ![killed, undefined].includes(readPidFile(cluster)?.pid))
  await postgres.stop()
  expect(processesIn(cluster)).toEqual([])
})

test('a pid file that names a living process of the same user is no obstacle, and the process none of our business', async () => {
  const { uid, gid } = await stat(cluster)
  const stranger = spawn('sleep', ['60'], { stdio: 'ignore', ...(isRoot ? { uid, gid } : {}) })
  await once(stranger, 'spawn')
  const file = join(cluster, 'postmaster.pid')
  await writeFile(file, `${stranger.pid}\n${cluster}\n1700000000\n1\n\n127.0.0.1\n\n`, { mode: 0o600 })
  if (isRoot) await chown(file, uid, gid)
  expect((await begin()).adopted).toBe(false)
  expect(stranger.exitCode ?? stranger.signalCode).toBeNull()
  stranger.kill()
  await once(stranger, 'close')
})

test.runIf(process.platform === 'linux')('a server that has no pid file yet is waited for and not ended', async () => {
  const holder = hold()
  const { url } = await heldBy(holder)
  await holder.end('SIGKILL')
  const file = join(cluster, 'postmaster.pid')
  const { uid, gid } = await stat(file)
  const content = await readFile(file)
  await rm(file)
  const pid = processesIn(cluster).find(({ postmaster }) => postmaster)?.pid
  const starting = begin()
  await until('it is looking at the folder', async () => {
    const probe = startingAlone(dataDir, 0, new AbortController().signal, () => Promise.resolve(false))
    return probe.catch(() => true)
  })
  await writeFile(file, content, { mode: 0o600 })
  await chown(file, uid, gid)
  expect(await starting).toMatchObject({ adopted: true, url })
  expect(serverPid()).toBe(pid)
})

test('Ctrl-C in a terminal reaches the program and not its server', async () => {
  const child = spawn(process.execPath, ['--conditions=source', holderFile, dataDir], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  await until('it holds the server', () => output.includes('holding'))
  const pid = serverPid()
  // A terminal sends SIGINT to the whole process group.
  process.kill(-(child.pid ?? 0), 'SIGINT')
  await until('the program was interrupted', () => output.includes('interrupted'))
  expect(await begin()).toMatchObject({ adopted: true })
  expect(serverPid()).toBe(pid)
  child.kill('SIGTERM')
  await once(child, 'close')
})

test('a folder that no database can live in is refused in one sentence that says what to do', async () => {
  const made = async (name: string, files: Record<string, string>): Promise<string> => {
    await mkdir(join(folder, name, 'postgres'), { recursive: true })
    await giveAway(join(folder, name, 'postgres'))
    for (const [file, content] of Object.entries(files)) await writeFile(join(folder, name, file), content)
    return join(folder, name)
  }
  await writeFile(join(folder, 'a-file'), '')
  const refusals: readonly (readonly [string, RegExp])[] = [
    [
      await made('older', { 'postgres/PG_VERSION': '17\n', password: 'x' }),
      /made by PostgreSQL 17 and this program brings 18: .*TWOFOLD_DATA_DIR/,
    ],
    [await made('other', { 'postgres/photo.jpg': '' }), /is no PostgreSQL data folder: set TWOFOLD_DATA_DIR/],
    [await made('locked', { 'postgres/PG_VERSION': '18\n' }), /there is no password in .*: put it back/],
    [join(folder, 'a-file'), /is not a folder: set TWOFOLD_DATA_DIR/],
    [join(folder, 'a-file', 'below'), /ENOTDIR.*: set TWOFOLD_DATA_DIR/],
  ]
  for (const [where, sentence] of refusals) {
    const refusal = await startEmbeddedPostgres({ dataDir: where }).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ code: 'DATA_FOLDER_UNUSABLE', message: expect.stringMatching(sentence) as string })
    expect(String(refusal)).not.toContain('\n')
  }
})

test('a password that is not the one of its database is refused, and no server stays behind', async () => {
  const file = join(dataDir, 'password')
  const right = await readFile(file)
  await writeFile(file, 'wrong')
  try {
    const starting = startEmbeddedPostgres({ dataDir, startTimeoutMs: 15_000 })
    await expect(starting).rejects.toMatchObject({
      code: 'DATA_FOLDER_UNUSABLE',
      message: expect.stringContaining('refuses the password') as string,
    })
    expect(processesIn(cluster)).toEqual([])
  } finally {
    await writeFile(file, right)
  }
})

const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))
test.runIf(isRoot && setpriv !== undefined)(
  'root in a container, who may not look into other users’ processes, knows its server',
  async () => {
    const run = async (): Promise<{ adopted: boolean; end: (signal: NodeJS.Signals) => Promise<void> }> => {
      const words = ['--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace', process.execPath, '--conditions=source', holderFile, dataDir]
      const child = spawn(setpriv ?? '', words, { stdio: ['ignore', 'pipe', 'inherit'] })
      let output = ''
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
      await until('it holds the server', () => output.includes(' .'))
      const end = async (signal: NodeJS.Signals): Promise<void> => {
        child.kill(signal)
        await once(child, 'close')
      }
      return { adopted: output.includes('"adopted":true'), end }
    }
    const first = await run()
    expect(first.adopted).toBe(false)
    await first.end('SIGKILL')
    const second = await run()
    expect(second.adopted).toBe(true)
    await second.end('SIGTERM')
    expect(processesIn(cluster)).toEqual([])
  },
)

test.runIf(isRoot && (await reachableByAll(dirname(holderFile))) && (await reachableByAll(process.execPath)))(
  'an ordinary user starts, finds again and stops its own',
  async () => {
    const home = await mkdtemp(join(tmpdir(), 'twofold-ordinary-'))
    await giveAway(home)
    await chmod(home, 0o700)
    const where = join(home, 'data')
    for (const start of ['first', 'second']) {
      const child = spawn(process.execPath, ['--conditions=source', holderFile, where], {
        uid: 65_534,
        gid: 65_534,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let output = ''
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
      await until(`the ${start} start holds the server`, () => output.includes(' .'))
      child.kill('SIGTERM')
      expect(await once(child, 'close')).toEqual([0, null])
      expect(processesIn(join(where, 'postgres'))).toEqual([])
    }
    await rm(home, { recursive: true })
  },
)
