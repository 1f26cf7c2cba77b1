import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Client, Pool } from 'pg'
import type { Database } from '../../src/ports/database.ts'

export interface FreshDatabase extends Database {
  readonly url: string
  close(): Promise<void>
}

const SERVER = 'postgres://postgres@127.0.0.1:5432/'

export async function freshDatabase(): Promise<FreshDatabase> {
  const name = `subs_${randomUUID().replaceAll('-', '')}`
  const admin = async (sql: string): Promise<void> => {
    const client = new Client(`${SERVER}test`)
    await client.connect()
    await client.query(sql)
    await client.end()
  }
  await admin(`create database ${name}`)
  const pool = new Pool({ connectionString: `${SERVER}${name}`, max: 10 })
  pool.on('error', () => undefined)
  await pool.query('create schema twofold')
  await pool.query(await readFile(new URL('../../src/adapters/postgres/migrations/0001_init.sql', import.meta.url), 'utf8'))
  return {
    url: `${SERVER}${name}`,
    query: (text, values) => pool.query(text, values as unknown[]) as never,
    async transaction(run) {
      const client = await pool.connect()
      let broken: Error | undefined
      const onError = (error: Error): void => void (broken = error)
      client.on('error', onError)
      try {
        await client.query('begin')
        const result = await run(client)
        const { command } = await client.query('commit')
        if (command === 'ROLLBACK') throw new Error('the transaction had failed and was rolled back')
        return result
      } catch (error) {
        await client.query('rollback').catch((failure: Error) => (broken = failure))
        throw error
      } finally {
        client.off('error', onError)
        client.release(broken)
      }
    },
    async close() {
      await pool.end()
      await admin(`drop database ${name} with (force)`)
    },
  }
}
