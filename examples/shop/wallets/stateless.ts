// What is answered about wallets.
import { stateless } from 'twofold'
import { wallets } from './contract.ts'
import { walletEntity } from './wallet.ts'

export const walletsStateless = stateless(wallets, {
  queries: {
    async wallet({ walletId }, { read }) {
      const found = await read(walletEntity, walletId)
      return { balanceCents: found?.state.balanceCents ?? 0 }
    },
  },
})
