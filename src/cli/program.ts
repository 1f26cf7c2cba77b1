// The commands of `twofold`. A further one is a file in commands/ and a line here.
import { Command } from 'commander'
import { addDoctor } from './commands/doctor.ts'
import type { Terminal } from './terminal.ts'

/** A wrong call, or a question for help or the version, is thrown as a CommanderError. */
export function twofoldProgram(terminal: Terminal, version: string): Command {
  const program = new Command('twofold')
    .description('tools for apps made with Twofold')
    .version(version)
    .exitOverride()
    .showHelpAfterError('(run with --help to see what is possible)')
  addDoctor(program, terminal)
  return program
}
