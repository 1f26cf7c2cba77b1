import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { query } from '../../../test/support/fresh-database.ts'
import { migrate } from '../../adapters/postgres/migrate.ts'
import { checkNames } from './doctor.ts'
import { doctor } from './doctor-fixture.ts'

let own: TestDatabase

beforeAll(async () => {
  own = await testDatabase()
})
afterAll(() => own.drop())

const password = (): string => new URL(own.url).password

async function listening(onConnection: (socket: Socket) => void): Promise<{ server: Server; url: string }> {
  const server = createServer(onConnection).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `postgres://127.0.0.1:${(server.address() as AddressInfo).port}/nowhere` }
}

test('an empty database of a sound server has no fault, and every look has its name in the order of the documentation', async () => {
  const { exitCode, output, checks, check } = await doctor(['--json', '--url', own.url])
  expect(checks.filter(({ status }) => status === 'fault')).toEqual([])
  expect(exitCode).toBe(0)
  expect(JSON.parse(output)).toEqual({ ok: true, checks })
  const names = checks.map(({ name }) => name)
  expect(names).toEqual(checkNames.filter((name) => name !== 'embedded' && !/^(app|kafka|rabbitmq)\b/.test(name)))
  expect(check('schema').found).toMatch(/^no schema twofold yet: the first start makes it/)
  expect(check('postgres.pooler').found).toBe('no pooler: this is a connection to PostgreSQL itself')
  expect(output).not.toContain(password())
  for (const each of checks) expect(Object.keys(each)).toEqual(['name', 'status', 'found', ...('advice' in each ? ['advice'] : [])])
})

test('a person gets aligned lines and at the end what to do next; colours only on a terminal', async () => {
  const plain = await doctor([], { DATABASE_URL: own.url })
  const lines = plain.output.split('\n')
  const columns = lines.filter((line) => /^ {2}[✓!✗] /.test(line)).map((line) => /^ {2}. \S+ +/.exec(line)?.[0].length)
  expect(new Set(columns).size).toBe(1)
  expect(plain.output).toMatch(/✓ environment +DATABASE_URL names 127\.0\.0\.1:/)
  expect(lines.at(-2)).toMatch(/^all is well: start your app$|^\d+ warnings?, no fault: an app can run here/)
  expect(plain.output).not.toContain('\u001B[')
  expect((await doctor([], { DATABASE_URL: own.url }, true)).output).toContain('\u001B[32m✓\u001B[0m')
})

test('a stopped port, a host that does not exist and a server that never speaks each end in one sentence', async () => {
  const closed = await listening(() => undefined)
  closed.server.close()
  const sockets: Socket[] = []
  const silent = await listening((socket) => void sockets.push(socket))
  for (const [url, reason] of [
    [closed.url, /cannot be reached \(connect ECONNREFUSED/],
    ['postgres://nobody:secret@nowhere.invalid/db', /^PostgreSQL at nowhere\.invalid:5432\/db cannot be reached/],
    [silent.url, /cannot be reached \(no answer within/],
  ] as const) {
    const { exitCode, output, checks, check } = await doctor(['--json', '--url', url])
    expect(check('postgres')).toMatchObject({
      status: 'fault',
      advice: 'start it, or correct DATABASE_URL',
      found: expect.stringMatching(reason),
    })
    expect(checks.filter(({ name }) => /^postgres\.|^schema|^app\./.test(name))).toEqual([])
    expect(exitCode).toBe(1)
    expect(output).not.toContain('secret')
  }
  for (const socket of sockets) socket.destroy()
  silent.server.close()
  const { output } = await doctor([], { DATABASE_URL: closed.url })
  expect(output.trimEnd().split('\n').at(-1)).toBe('1 fault: mend postgres first, then run this again')
}, 60_000)

test('a wrong setting of the environment is a fault of its own, and no other database is looked at instead', async () => {
  const { exitCode, check } = await doctor(['--json'], { PORT: 'http' })
  expect(exitCode).toBe(1)
  expect(check('environment').found).toContain(`PORT is 'http'`)
  expect(check('embedded')).toEqual({})
})

test('the way of commands is told, and what is set for another one', async () => {
  const found = async (environment: Record<string, string>): Promise<string | undefined> =>
    (await doctor(['--json', '--url', own.url], environment)).check('environment').found
  expect(await found({})).toMatch(/; commands go by postgres \(TWOFOLD_CARRIER\)$/)
  expect(await found({ AMQP_URL: 'amqp://user:secret@127.0.0.1:9' })).toMatch(
    /go by postgres \(TWOFOLD_CARRIER\), so AMQP_URL is not used$/,
  )
  const both = { TWOFOLD_CARRIER: 'kafka', KAFKA_BROKERS: '127.0.0.1:1', AMQP_URL: 'amqp://127.0.0.1:9', TWOFOLD_WHEN_AWAY: 'log' }
  expect(await found(both)).toMatch(/go by kafka \(TWOFOLD_CARRIER\), so AMQP_URL is not used$/)
})

test('every wrong setting is a fault with what may stand there, and no password is printed', async () => {
  const wrong = {
    TWOFOLD_CARRIER: 'rabbit',
    AMQP_URL: 'http://user:secret@host',
    TWOFOLD_CRASH: 'here',
    DATABASE_URL: 'mysql://user:secret@host',
  }
  const { exitCode, output, check } = await doctor(['--json'], wrong)
  expect(exitCode).toBe(1)
  for (const name of Object.keys(wrong)) expect(check('environment').found).toContain(name)
  expect(check('environment').advice).toBe('correct the variables named, or unset them')
  expect(output).not.toContain('secret')
})

test('a --url that is none is told without its password, as a wrong call', async () => {
  const calls = doctor(['--url', 'mysql://user:secret@host/db'])
  await expect(calls).rejects.toMatchObject({
    exitCode: 1,
    message: expect.stringContaining("--url is 'mysql://***@host/db'; it must read postgres://"),
  })
  await expect(calls).rejects.not.toMatchObject({ message: expect.stringContaining('secret') })
})

test('a database that hangs does not hold up the look at the broker', async () => {
  const open = new Map<Socket, string>()
  let openMeanwhile: string[] = []
  const silent = await listening((socket) => {
    open.set(socket, 'unknown')
    socket.on('error', () => undefined).on('close', () => open.delete(socket))
    socket.on('data', (bytes) => {
      open.set(socket, bytes.subarray(0, 4).toString() === 'AMQP' ? 'broker' : 'database')
      if (open.get(socket) === 'broker') openMeanwhile = [...open.values()]
    })
  })
  const { host } = new URL(silent.url)
  const { check } = await doctor(['--json', '--url', silent.url], { TWOFOLD_CARRIER: 'rabbitmq', AMQP_URL: `amqp://user:secret@${host}` })
  expect(check('postgres').status).toBe('fault')
  expect(check('rabbitmq')).toMatchObject({ status: 'fault', found: expect.stringContaining(`RabbitMQ does not answer at ${host} `) })
  expect(openMeanwhile.toSorted()).toEqual(['broker', 'database'])
  for (const socket of open.keys()) socket.destroy()
  silent.server.close()
}, 30_000)

test('a read-only role is told that it may not write, nor make what is needed', async () => {
  const role = `reader_${new URL(own.url).pathname.slice(6)}`
  await query(own.url, `create role ${role} login password 'reading'; alter role ${role} set default_transaction_read_only = on`)
  const url = new URL(own.url)
  url.username = role
  url.password = 'reading'
  const { exitCode, check } = await doctor(['--json', '--url', url.href])
  expect(exitCode).toBe(1)
  expect(check('postgres.writable')).toMatchObject({ status: 'fault', advice: 'name the primary in DATABASE_URL' })
  expect(check('postgres.rights')).toMatchObject({ status: 'fault', advice: 'grant CREATE on the database, or name another user' })

  const other = await testDatabase()
  await migrate(other.url, { appName: 'shop', partitionCount: 4 })
  url.pathname = new URL(other.url).pathname
  const later = await doctor(['--json', '--url', url.href])
  expect(later.check('postgres.rights')).toMatchObject({ status: 'fault', advice: `connect as twofold, or: grant twofold to ${role}` })
  expect(later.check('schema').found).toContain('it may not be looked at: permission denied')

  await query(other.url, `grant usage on schema twofold to ${role}; grant all on all tables in schema twofold to ${role}`)
  const writer = await doctor(['--json', '--url', url.href])
  expect(writer.check('postgres.rights')).toMatchObject({ status: 'warning', found: expect.stringContaining('belong to twofold') })

  const locks = new pg.Client({ connectionString: other.url, application_name: 'twofold locks of somebody' })
  await locks.connect()
  const beside = await doctor(['--json', '--url', url.href])
  expect(beside.check('postgres.takeover-rights')).toMatchObject({
    status: 'warning',
    found: expect.stringContaining('waits up to half a lease'),
  })
  await locks.end()
  await other.drop()
  await query(own.url, `drop role ${role}`)
})

test('what a crash would lose is said: synchronous_commit that is off for one database', async () => {
  const other = await testDatabase()
  await query(other.url, `alter database ${new URL(other.url).pathname.slice(1)} set synchronous_commit = off`)
  const { exitCode, check } = await doctor(['--json', '--url', other.url])
  expect(check('postgres.durability')).toMatchObject({
    status: 'fault',
    found: expect.stringContaining('loses commands that were accepted'),
  })
  expect(exitCode).toBe(1)
  await other.drop()
})

test('a database in another encoding than UTF8 is a fault', async () => {
  const name = `${new URL(own.url).pathname.slice(1)}_ascii`
  await query(own.url, `create database ${name} encoding 'SQL_ASCII' template template0`)
  const url = new URL(own.url)
  url.pathname = `/${name}`
  const { check } = await doctor(['--json', '--url', url.href])
  expect(check('postgres.encoding')).toMatchObject({ status: 'fault', found: expect.stringContaining('SQL_ASCII') })
  await query(own.url, `drop database ${name} with (force)`)
})

test('a schema of an older or a newer program is told apart from the own one', async () => {
  const other = await testDatabase()
  await migrate(other.url, { appName: 'shop', partitionCount: 4 })
  expect((await doctor(['--json', '--url', other.url])).check('schema').found).toMatch(/^app 'shop' with 4 partitions, at migration \d+$/)
  await query(other.url, `insert into twofold._migration (number, name, checksum) values (9999, 'later', '')`)
  const newer = await doctor(['--json', '--url', other.url])
  expect(newer.check('schema')).toMatchObject({ status: 'fault', advice: 'start the newer program that made it' })
  expect(newer.check('app.waiting')).toEqual({})
  await query(other.url, 'delete from twofold._migration where number = (select max(number) - 1 from twofold._migration) or number = 9999')
  await query(other.url, 'delete from twofold._migration where number = (select max(number) from twofold._migration)')
  expect((await doctor(['--json', '--url', other.url])).check('schema')).toMatchObject({
    status: 'warning',
    found: expect.stringContaining('this program knows'),
  })
  await other.drop()
})
