// What every app serves besides its contracts: the status of a command, and the shape of a problem.
import { jsonBody, parameter, problem, refTo } from './parts.ts'

export const ownSchemas = {
  Problem: {
    type: 'object',
    description: 'RFC 9457. `code` is stable and safe to branch on.',
    required: ['type', 'title', 'status', 'code'],
    properties: {
      type: { type: 'string', format: 'uri' },
      title: { type: 'string' },
      status: { type: 'integer' },
      detail: { type: 'string' },
      instance: { type: 'string' },
      code: { type: 'string' },
      retryable: { type: 'boolean' },
      commandId: { type: 'string', format: 'uuid' },
      currentVersion: { type: 'integer', description: 'Of a 412: the version of the entity, which is its ETag; 0 where there is none.' },
      errors: {
        type: 'array',
        items: {
          type: 'object',
          required: ['path', 'message'],
          properties: { path: { type: 'string', description: 'A JSON pointer (RFC 6901) into the input.' }, message: { type: 'string' } },
        },
      },
    },
  },
  AcceptedCommand: {
    type: 'object',
    required: ['commandId', 'status', 'location'],
    properties: { commandId: { type: 'string', format: 'uuid' }, status: { const: 'queued' }, location: { type: 'string' } },
  },
  CommandStatus: {
    type: 'object',
    required: ['commandId', 'status'],
    properties: {
      commandId: { type: 'string', format: 'uuid' },
      service: { type: 'string' },
      command: { type: 'string' },
      status: { enum: ['queued', 'running', 'succeeded', 'rejected', 'dead'] },
      attempts: { type: 'integer' },
      reply: { description: 'The reply of a command that has succeeded.' },
      rejection: { type: 'object', required: ['code'], properties: { code: { type: 'string' }, data: {} } },
      error: { type: 'object', required: ['code'], properties: { code: { type: 'string' }, attempts: { type: 'integer' } } },
      version: { type: 'integer' },
      consistencyToken: { type: 'string' },
      finishedAt: { type: 'string', format: 'date-time' },
    },
  },
}

/** `GET /commands/{id}`. */
export const commandStatus = {
  operationId: 'commandStatus',
  parameters: [
    parameter('path', 'id', { type: 'string', format: 'uuid' }, true),
    {
      in: 'query',
      name: 'wait',
      required: false,
      description: 'Wait up to so many seconds for the outcome.',
      schema: { type: 'integer', minimum: 0 },
    },
  ],
  responses: {
    200: jsonBody('How far the command is, or how it ended.', refTo('CommandStatus')),
    400: problem('The request is malformed.'),
    404: problem('Nobody knows this command, or its outcome is no longer kept.'),
    503: problem('The database cannot be reached.'),
  },
}
