// Sends documents with Elasticsearch's official client for Node and its bulk helper; prints what the helper says, as JSON.
import { createRequire } from 'node:module'

const require = createRequire(`${process.env.CLIENTS}/package.json`)
const { Client } = require('@elastic/elasticsearch')

const [node, count] = process.argv.slice(2)
const client = new Client({ node })
const info = await client.info()
const dropped = []
const documents = Array.from({ length: Number(count) }, (_, number) => ({
  '@timestamp': new Date(Date.now() - 1000).toISOString(),
  message: `checkout ${number} – 日本語`,
  log: { level: 'warn' },
  service: { name: 'node-shop' },
  order: { id: number }
}))
// One that no retention reaches.
documents.push({ '@timestamp': '1999-01-01T00:00:00Z', message: 'too old' })
const stats = await client.helpers.bulk({
  datasource: documents,
  onDocument: () => ({ create: { _index: 'shop-2026.11.24' } }),
  onDrop: (drop) => dropped.push({ status: drop.status, reason: drop.error.reason, message: drop.document.message })
})
console.log(JSON.stringify({ version: info.version.number, successful: stats.successful, failed: stats.failed, dropped }))
