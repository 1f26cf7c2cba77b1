// The state behind one wallet.
import { entity } from 'twofold'
import { wallets } from './contract.ts'

export const walletEntity = entity(wallets, { initial: () => ({ balanceCents: 0 }) })
