// A program whose code leaves the carrier open, as `carrier: settings.carrier` does where there is no such setting.
import { run } from 'twofold'
import { bankApp } from '../carriers/bank.ts'

await run(bankApp('bank'), { carrier: undefined, partitionCount: 2 })
