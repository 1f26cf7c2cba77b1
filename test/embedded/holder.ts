// A program that uses the embedded PostgreSQL of a folder until it is told to end: by SIGTERM it stops it, by SIGINT it lives on.
import { startEmbeddedPostgres } from '../../src/adapters/postgres/embedded/embedded-postgres.ts'

const [dataDir = ''] = process.argv.slice(2)
process.on('SIGINT', () => console.log('interrupted'))
const postgres = await startEmbeddedPostgres({ dataDir })
process.once('SIGTERM', () => void postgres.stop().then(() => process.exit()))
console.log(`holding ${JSON.stringify({ url: postgres.url, adopted: postgres.adopted })} .`)
