// A mailer that writes to a file, a mail per line: enough to see what would be sent.
import { appendFile, mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Mailer } from './notifications.ts'

export function fileMailer(file: string): Mailer {
  return {
    async send(mail) {
      await mkdir(dirname(file), { recursive: true })
      await appendFile(file, `${JSON.stringify(mail)}\n`)
    },
  }
}
