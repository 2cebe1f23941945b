// Reads {schemas: {name: schema}, records: [{schema: name, record}]} and prints, for each record, whether it is valid
// by Ajv: draft 2020-12, with the regular expressions that JSON Schema means.
import { readFileSync } from 'node:fs'
import Ajv from 'ajv/dist/2020.js'

const { schemas, records } = JSON.parse(readFileSync(process.argv[2], 'utf8'))
// `format` is a remark to most validators, and to this one: times are held to their pattern.
const ajv = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true, validateFormats: false })
const validators = Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, ajv.compile(schema)]))
console.log(JSON.stringify(records.map(({ schema, record }) => validators[schema](record))))
