// How wallets change.
import { stateful } from 'twofold'
import { wallets } from './contract.ts'
import { walletEntity } from './wallet.ts'

export const walletsStateful = stateful(wallets, {
  entity: walletEntity,
  handlers: {
    deposit(wallet, { walletId, amountCents }, { emit }) {
      wallet.balanceCents += amountCents
      emit.moneyMoved({ from: null, to: walletId, amountCents })
      return { balanceCents: wallet.balanceCents }
    },
    transfer([from, to], input, { emit, reject }) {
      if (input.from === input.to) return reject.sameWallet()
      if (from.balanceCents < input.amountCents) return reject.insufficientFunds({ balanceCents: from.balanceCents })
      from.balanceCents -= input.amountCents
      to.balanceCents += input.amountCents
      emit.moneyMoved(input)
      return { balanceCents: from.balanceCents }
    },
  },
})
