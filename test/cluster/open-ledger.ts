import { testDatabase } from '../support/database.ts'
import { Ledger } from './ledger.ts'

/** A ledger on a database of its own, for a test. */
export async function openLedger(leaseMs: number): Promise<Ledger> {
  return new Ledger(await testDatabase(), leaseMs)
}
