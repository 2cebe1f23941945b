// Prints what AsyncAPI's own parser says of a document, and what it makes of it, as one JSON object.
import { readFileSync } from 'node:fs'
import { Parser } from '@asyncapi/parser'

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], 'utf8'))
console.log(
  JSON.stringify({
    diagnostics: diagnostics.map(({ severity, code, message, path }) => ({
      severity, // 0 is an error, 1 a warning, 2 information
      code,
      message,
      where: path.join('.')
    })),
    channels: document?.channels().all().map((channel) => channel.address()),
    operations: document?.operations().all().map((operation) => [operation.id(), operation.action()]),
    servers: document?.servers().all().map((server) => [server.id(), server.protocol(), server.security().length])
  })
)
