// Everything that `npm run bench` measures, in this order. A new scenario is a file beside this one and a name in this list.
import type { Scenario } from '../scenario.ts'
import { batchSqlCeiling } from './batch-sql-ceiling.ts'
import { engineDirect, engineLog, engineRabbitMq, hotKey, multiKey } from './engine.ts'
import { growthBacklog, growthHistory, growthKeys } from './growth.ts'
import { direct, fastifyBare, httpAccept, httpAcceptKafka, httpAcceptRabbitMq, httpKeyed, httpOpen, httpSync } from './http.ts'
import { moves } from './moves.ts'
import { oneTransactionEach } from './one-transaction-each.ts'
import { sqlHandlers } from './sql-handlers.ts'

export const scenarios: readonly Scenario[] = [
  oneTransactionEach,
  batchSqlCeiling,
  engineDirect,
  engineLog,
  engineRabbitMq,
  hotKey,
  multiKey,
  sqlHandlers,
  fastifyBare,
  httpAccept,
  httpAcceptRabbitMq,
  httpAcceptKafka,
  ...httpSync,
  ...direct,
  ...httpKeyed,
  ...httpOpen,
  growthKeys,
  growthHistory,
  growthBacklog,
  moves,
]
