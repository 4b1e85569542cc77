// Logs through winston and winston-loki, in protobuf with snappy or, with `json`, in JSON.
import { createRequire } from 'node:module'

const require = createRequire(`${process.env.CLIENTS}/package.json`)
const winston = require('winston')
const LokiTransport = require('winston-loki')

const [host, encoding, count] = process.argv.slice(2)
const transport = new LokiTransport({
  host,
  json: encoding === 'json',
  labels: { app: `winston-${encoding}`, job: 'tests' },
  batching: true,
  interval: 1,
  gracefulShutdown: false,
  onConnectionError: (error) => { console.error(error); process.exit(1) }
})
const logger = winston.createLogger({ level: 'debug', transports: [transport] })
for (let number = 0; number < Number(count); number++) {
  const level = ['error', 'warn', 'info', 'debug'][number % 4]
  logger.log({ level, message: `order ${number} "quoted" – 日本語`, labels: { component: 'orders' } })
}
await new Promise((resolve) => setTimeout(resolve, 50))
await transport.flush()
process.exit(0)
