// A peer to test the harness with. Asked for a concurrency of 1 it does what it should; of 2, it does not deduplicate.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { runPeer } from '../../../bench/peers/peer.ts'
import { CREDIT_ONCE } from '../../../bench/peers/tables.ts'

await runPeer({
  lacks: 'everything else',
  start({ url, concurrency }) {
    const pool = new pg.Pool({ connectionString: url, max: 2 })
    return Promise.resolve({
      versions: { nothing: '1.0.0' },
      async credit({ id, account }) {
        await pool.query({ ...CREDIT_ONCE, values: [concurrency === 1 ? id : randomUUID(), account] })
      },
      stop: () => pool.end(),
    })
  },
})
