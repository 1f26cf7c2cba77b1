import { run } from 'twofold'
import { shop } from './app.ts'

await run(shop)
