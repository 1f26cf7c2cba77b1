// A reader that forgets to end its transaction, as a backup or an open console does: nothing that dies meanwhile can be cleaned away.
import pg from 'pg'

/** Runs `work` again and again for so long, while a snapshot of the whole database is held. */
export async function whileHeld(url: string, seconds: number, work: () => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, application_name: 'reader that holds a snapshot' })
  await client.connect()
  try {
    await client.query('begin isolation level repeatable read')
    // It has read what is written most: as a backup does, it also keeps everybody from truncating these.
    await client.query('select (select count(*) from twofold._command), (select count(*) from twofold._entity)')
    const until = performance.now() + seconds * 1000
    while (performance.now() < until) await work()
  } finally {
    await client.end()
  }
}
