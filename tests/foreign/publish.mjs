// Publishes batches with kafkajs: one JSON object on each line of standard input, with the codec and the records.
import { createInterface } from 'node:readline'
import kafkajs from 'kafkajs'

const { CompressionTypes, Kafka, logLevel } = kafkajs
const kafka = new Kafka({ clientId: 'publish', brokers: [process.argv[2]], logLevel: logLevel.ERROR })
const producer = kafka.producer()
await producer.connect()
for await (const line of createInterface({ input: process.stdin })) {
  const { compression, records } = JSON.parse(line)
  for (const { topic, key, value } of records) {
    const messages = [{ key, value, headers: { 'x-site': 'paper', 'x-bytes': Buffer.from([0, 255]) } }]
    await producer.send({ topic, messages, compression: CompressionTypes[compression], acks: -1 })
  }
}
await producer.disconnect()
