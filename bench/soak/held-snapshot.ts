// A reader that forgets to end its transaction, as a backup or an open console does: nothing that dies meanwhile can be cleaned away.
import pg from 'pg'

/** Holds a snapshot of the whole database until it is released. */
export async function holdSnapshot(url: string): Promise<{ release(): Promise<void> }> {
  const client = new pg.Client({ connectionString: url, application_name: 'reader that holds a snapshot' })
  await client.connect()
  await client.query('begin isolation level repeatable read')
  // It has read what is written most: as a backup does, it also keeps everybody from truncating these.
  await client.query('select (select count(*) from twofold._command), (select count(*) from twofold._entity)')
  return { release: () => client.end() }
}
