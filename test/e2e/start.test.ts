import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { addressOf, startProgram, type Program } from './program.ts'

const programs: Program[] = []
let folder: string
let database: TestDatabase

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twofold-start-'))
  database = await testDatabase()
})
afterEach(async () => {
  await Promise.all(programs.splice(0).map((program) => program.end('SIGKILL')))
})
afterAll(async () => {
  await database.drop()
  await rm(folder, { recursive: true, force: true })
})

async function connected(url: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.on('error', () => undefined)
  return socket
}

function shop(environment: Record<string, string>): Program {
  const program = startProgram('examples/shop/main.ts', { LOG_LEVEL: 'error', MAIL_FILE: join(folder, 'mails'), ...environment })
  programs.push(program)
  return program
}

async function fails(environment: Record<string, string>): Promise<string> {
  const program = shop({ PORT: '0', ...environment })
  expect(await program.ended(30_000)).toBe(1)
  return program.output().trim()
}

test('the embedded database keeps everything from one start to the next, and Ctrl-C stops in under 2 s', async () => {
  const dataDir = join(folder, 'data')
  const first = shop({ PORT: '0', TWOFOLD_DATA_DIR: dataDir })
  const deposits = `${await addressOf(first)}/wallets/w/deposits`
  const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"amountCents":5}' }
  expect((await fetch(deposits, request)).status).toBe(200)
  // A browser opens connections in advance; another client never finishes its request.
  const unused = [await connected(deposits), await connected(deposits)]
  unused[1]?.write('POST /wallets/w/deposits HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{"am')
  const stoppedAt = performance.now()
  expect(await first.end('SIGINT')).toBe(0)
  expect(performance.now() - stoppedAt).toBeLessThan(2000)

  const second = shop({ PORT: '0', TWOFOLD_DATA_DIR: dataDir })
  const address = await addressOf(second)
  expect(await (await fetch(`${address}/wallets/w`)).json()).toEqual({ balanceCents: 5 })
  expect((await fetch(`${address}/readyz`)).status).toBe(200)
})

test('a signal calls off a start that does not get on', { timeout: 30_000 }, async () => {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const program = shop({ PORT: '0', DATABASE_URL: `postgres://postgres@127.0.0.1:${port}/nowhere` })
  await once(silent, 'connection')
  const askedAt = performance.now()
  expect([await program.end('SIGINT'), program.output()]).toEqual([130, expect.stringContaining('is stopping before it has started')])
  expect(performance.now() - askedAt).toBeLessThan(3000)
  silent.close()
})

test('a reader of its output that is gone does not keep it from stopping cleanly', async () => {
  const program = shop({ PORT: '0', DATABASE_URL: database.url })
  await addressOf(program)
  program.child.stdout?.destroy()
  program.child.stderr?.destroy()
  expect(await program.end('SIGINT')).toBe(0)
})

test('the three curl lines it prints work when pasted', async () => {
  const program = shop({ PORT: '0', DATABASE_URL: database.url })
  const [, ...lines] = await program.printed(/(curl .+)\n\s+(curl .+)\n\s+(curl .+)\n/)
  const { execFile } = await import('node:child_process')
  for (const line of lines) {
    const child = execFile('sh', ['-c', `${line} --silent --fail --show-error`])
    const [code] = (await once(child, 'close')) as [number]
    expect(code, line).toBe(0)
  }
})

test('a taken default port is passed over, and it says so', async () => {
  const blocker: Server = createServer()
  const blocked = once(blocker, 'listening').catch(() => undefined)
  blocker.listen(3000, '127.0.0.1').on('error', () => undefined)
  await Promise.race([blocked, once(blocker, 'error')])
  const program = shop({ DATABASE_URL: database.url })
  const address = await addressOf(program)
  expect(address).not.toBe('http://127.0.0.1:3000')
  expect(program.output()).toContain('port 3000 was taken')
  expect((await fetch(`${address}/livez`)).status).toBe(200)
  const put = await fetch(`${address}/livez`, { method: 'PUT' })
  expect([put.status, put.headers.get('allow'), ((await put.json()) as { code: string }).code]).toEqual([
    405,
    'GET, HEAD, OPTIONS',
    'METHOD_NOT_ALLOWED',
  ])
  blocker.close()
})

test('a port that was asked for and is taken is an error that names it', async () => {
  const blocker = createServer().listen(0, '127.0.0.1')
  await once(blocker, 'listening')
  const { port } = blocker.address() as { port: number }
  expect(await fails({ DATABASE_URL: database.url, PORT: String(port) })).toContain(`port ${port} on 127.0.0.1 is taken`)
  blocker.close()
})

test('what stands in the way of a start is one sentence and exit code 1', { timeout: 60_000 }, async () => {
  const wrong = new URL(database.url)
  wrong.password = 'secret-and-wrong'
  const missing = new URL(database.url)
  missing.pathname = '/nowhere'
  const file = join(folder, 'a-file')
  await writeFile(file, '')
  const answers = await Promise.all([
    fails({ DATABASE_URL: wrong.href }),
    fails({ DATABASE_URL: missing.href }),
    fails({ DATABASE_URL: 'mysql://somewhere' }),
    fails({ DATABASE_URL: '', TWOFOLD_DATA_DIR: file }),
    fails({ DATABASE_URL: database.url, PORT: 'many', TWOFOLD_LEASE_MS: '3', LOG_LEVEL: 'loud', HOST: '' }),
  ])
  expect(answers.at(-1)).toMatch(/PORT is 'many'.*; TWOFOLD_LEASE_MS is '3'.*; LOG_LEVEL is 'loud'/)
  expect(answers.map((answer) => answer.split('\n').length)).toEqual([1, 1, 1, 1, 1])
  expect(answers.join('\n')).not.toContain('secret-and-wrong')
  const codes = ['DATABASE_FORBIDDEN', 'DATABASE_FORBIDDEN', 'INVALID_ENVIRONMENT', 'DATA_FOLDER_UNUSABLE', 'INVALID_ENVIRONMENT']
  expect(answers.map((answer) => /\(([A-Z_]+)\)$/.exec(answer)?.[1])).toEqual(codes)
})

test('a read-only database and one of a newer program are refused', { timeout: 60_000 }, async () => {
  const other = await testDatabase()
  const client = new pg.Client({ connectionString: other.url })
  await client.connect()
  const name = new URL(other.url).pathname.slice(1)
  await client.query(`alter database ${name} set default_transaction_read_only = on`)
  expect(await fails({ DATABASE_URL: other.url })).toMatch(/is read-only .*\(DATABASE_READ_ONLY\)$/)
  await client.query(`set transaction read write; alter database ${name} reset default_transaction_read_only`)
  await client.query(`create schema twofold; create table twofold._migration (number int primary key, name text, checksum text, at timestamptz default now());
    insert into twofold._migration values (9999, 'from the future', '')`)
  expect(await fails({ DATABASE_URL: other.url })).toMatch(/9999 \(from the future\).*newer program.*\(SCHEMA_TOO_NEW\)$/)
  await client.end()
  await other.drop()
})
