// Prints what AsyncAPI's own parser says of each document, and what it makes of it, as one JSON array.
import { readFileSync } from 'node:fs'
import { Parser } from '@asyncapi/parser'

const parser = new Parser()
const results = []
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await parser.parse(readFileSync(file, 'utf8'))
  results.push({
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
}
console.log(JSON.stringify(results))
