// What the AsyncAPI document says is what is sent. Run by tests/it/documents.rs, which puts JSON into the standard input:
//
//     node messages.js MODULES <{"openapi", "asyncapi", "heard": [frame …], "said": [command …], "pushed": [message …]}
//
// The parser is AsyncAPI's own; it also holds every example against its schema.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';

const require = createRequire(`${process.argv[2]}/`);
const { Parser } = require('@asyncapi/parser');
const Ajv = require('ajv/dist/2020').default;
const addFormats = require('ajv-formats').default;

const input = JSON.parse(await text(process.stdin));

const { document, diagnostics } = await new Parser().parse(JSON.stringify(input.asyncapi));
// 0 is an error, 1 a warning. That there is a newer version of the specification is less.
assert.deepEqual(diagnostics.filter((it) => it.severity < 2).map((it) => `${it.path.join('.')}: ${it.message}`), []);
assert.ok(document.allMessages().all().every((message) => message.examples().all().length > 0), 'each has an example');
console.log(`ok ${document.allMessages().all().length} messages, all with an example that is as their schema says`);

const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addSchema({ components: input.asyncapi.components }, 'asyncapi');
ajv.addSchema({ components: input.openapi.components }, 'openapi');

/**
 * Holds what was really sent against the channel's message of its type, in which no other field is allowed. Messages that
 * were never sent have to be told.
 */
function hold(channel, messages, type, unsent) {
  const kinds = new Set();
  for (const message of messages) {
    const { $ref } = input.asyncapi.channels[channel].messages[type(message)] ?? {};
    assert.ok($ref, `${channel}: the document has no ${type(message)}`);
    const validate = ajv.getSchema(`asyncapi${$ref}/payload`);
    assert.ok(validate(message), `${JSON.stringify(message)}: ${ajv.errorsText(validate.errors)}`);
    const { payload } = input.asyncapi.components.messages[$ref.split('/').at(-1)];
    const known = payload.properties ?? Object.assign({}, ...payload.allOf.map((part) => properties(part)));
    // What an OK says more, its command knows.
    const unknown = type(message) === 'OK' ? [] : Object.keys(message).filter((field) => !(field in known));
    assert.deepEqual(unknown, [], `fields of ${type(message)}`);
    kinds.add(type(message));
  }
  assert.deepEqual(Object.keys(input.asyncapi.channels[channel].messages).filter((kind) => !kinds.has(kind)), unsent);
  console.log(`ok ${channel}: ${[...kinds].sort().join(' ')}`);
}

function properties(part) {
  return (part.$ref ? input.asyncapi.components.schemas[part.$ref.split('/').at(-1)] : part).properties;
}

/** What goes both ways is told apart, and what the user is told for good from what the room is told in passing. */
function name(frame) {
  const { messages } = input.asyncapi.channels.socket;
  const other = input.said.includes(frame) ? `command.${frame.type}` : `room.${frame.type}`;
  return other in messages && !('seq' in frame) ? other : frame.type;
}

hold('socket', [...input.heard, ...input.said], name, ['DRAINING', 'UNREADABLE']);
hold('push', input.pushed, (push) => push.data.type, []);

/** Every example that a schema of the OpenAPI document gives is as that schema says. */
let examples = 0;
function look(schema, path) {
  if (schema === null || typeof schema !== 'object') return;
  for (const example of [...(schema.examples ?? []), ...('example' in schema ? [schema.example] : [])]) {
    const validate = ajv.getSchema(`openapi#${path}`);
    assert.ok(validate(example), `${path}: ${ajv.errorsText(validate.errors)}`);
    examples += 1;
  }
  for (const [key, inner] of Object.entries(schema)) look(inner, `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`);
}
look(input.openapi.components.schemas, '/components/schemas');
console.log(`ok ${examples} examples of the OpenAPI document`);
