// A fresh database on a server that is already there.
import { randomUUID } from 'node:crypto'
import { Client } from 'pg'

const SERVER = 'postgres://postgres@127.0.0.1:5432/'

export async function testDatabase(): Promise<{ readonly url: string; drop(): Promise<void> }> {
  const name = `subs_${randomUUID().replaceAll('-', '')}`
  const admin = async (sql: string): Promise<void> => {
    const client = new Client(`${SERVER}test`)
    await client.connect()
    await client.query(sql)
    await client.end()
  }
  await admin(`create database ${name}`)
  return { url: `${SERVER}${name}`, drop: () => admin(`drop database ${name} with (force)`) }
}
