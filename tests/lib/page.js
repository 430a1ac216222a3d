// The script of moat-serve's page, over a document that has as much as it needs, and the server's
// answers. page.js SOCKET
'use strict';
const http = require('node:http');
const vm = require('node:vm');
const assert = require('node:assert');

const socketPath = process.argv[2];

function request(path, { method = 'GET', headers = {}, body = '' } = {}) {
  return new Promise((resolve, reject) => {
    const all = { ...headers, 'Content-Length': Buffer.byteLength(body ?? '') };
    const r = http.request({ socketPath, path, method, headers: all }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part) => (text += part));
      answer.on('end', () => resolve({
        status: answer.statusCode,
        ok: answer.statusCode === 200,
        text: async () => text,
        json: async () => JSON.parse(text),
      }));
    });
    r.on('error', reject);
    r.end(body);
  });
}

class Element {
  constructor(value = '') {
    this.value = value;
    this.textContent = '';
    this.children = [];
    this.listeners = {};
  }
  append(child) { this.children.push(child); }
  replaceChildren(...children) { this.children = children; }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  rows() {
    return Object.fromEntries(this.children.map((row) => row.children.map((cell) => String(cell.textContent))));
  }
}

async function main() {
  const page = await (await request('/')).text();
  const elements = {};
  for (const [, attributes] of page.matchAll(/<\w+([^>]*\bid="[^>]*)>/g)) {
    const id = /\bid="([^"]*)"/.exec(attributes)[1];
    elements[id] = new Element(/\bvalue="([^"]*)"/.exec(attributes)?.[1]);
  }
  for (const [, id, text] of page.matchAll(/<textarea id="(\w+)"[^>]*>([^<]*)</g)) elements[id].value = text;
  const document = {
    getElementById: (id) => elements[id] ?? assert.fail(`no element ${id}`),
    createElement: () => new Element(),
  };
  const script = /<script>([^]*)<\/script>/.exec(page)[1];
  vm.runInNewContext(script, { document, fetch: request, setInterval: () => 0 });
  const submit = () => elements.form.listeners.submit({ preventDefault() {} });
  const result = () => elements.result.rows();

  await submit();
  assert.equal(elements.error.textContent, '');
  assert.equal(result().Status, 'Accepted');
  assert.equal(elements.stdout.textContent, '42\n');
  assert.equal(elements.run.disabled, false);

  elements.code.value = 'import sys; print("<b>", file=sys.stderr); sys.exit(3)';
  await submit();
  assert.deepEqual([result().Status, result()['Exit status']], ['Nonzero Exit Status', '3']);
  assert.equal(elements.stderr.textContent, '<b>\n');

  const runs = () => Number(elements.state.rows()['Runs, accepted, failed']?.split(', ')[0] ?? 0);
  while (runs() < 2) await new Promise((resolve) => setTimeout(resolve, 20)); // the test has a limit
  assert.equal(elements.state.rows()['Programs at a time'], '2');
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
