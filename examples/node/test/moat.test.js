// What the package promises, over a moat that is in $MOAT.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { MoatError, Sandbox, Server, parseSize } from '../index.js';

let server;
let sb;
before(async () => {
  server = await Server.start({ sandboxes: 2, memory: '512M' });
  sb = await server.sandbox();
});
after(async () => {
  await sb?.close();
  await server?.close();
});

const refused = (code) => (e) => e instanceof MoatError && e.code === code;

test('a program is run and its end is told', async () => {
  const r = await sb.run(['sh', '-c', 'cat; echo err >&2; exit 3'], { input: 'in' });
  assert.deepEqual([r.status, r.exitCode, r.signal, r.stdout, r.stderr], ['exited', 3, null, 'in', 'err\n']);
  assert.equal(r.ok, false);
  assert.ok(r.wallTime > 0 && r.memoryPeak > 0);
  assert.ok((await sb.run(['true'])).ok);
});

test('environment, directory and bytes are as they were given', async () => {
  const r = await sb.run(['/bin/sh', '-c', 'echo "$A"; pwd'], { env: { A: 'ä b' }, cwd: '/tmp' });
  assert.equal(r.stdout, 'ä b\n/tmp\n');
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  for (const size of [0, 1, 2, 3, 255, 256]) {
    const part = bytes.subarray(0, size);
    assert.deepEqual((await sb.run(['cat'], { input: part })).stdoutBytes, part);
  }
});

test('limits end a program', async () => {
  const python = (code, limits) => sb.run(['python3', '-c', code], limits);
  assert.equal((await sb.run(['sleep', '1000'], { timeout: 0.1 })).status, 'wall limit');
  assert.equal((await sb.run(['sh', '-c', 'while :; do :; done'], { cpu: 0.1 })).status, 'cpu limit');
  assert.equal((await python('a = []\nwhile 1: a.append("x" * 100000)', { memory: '64M' })).status, 'memory limit');
  assert.equal((await sb.run(['yes'], { output: '10K' })).status, 'output limit');
  const r = await sb.run(['sh', '-c', 'kill -SEGV $$']);
  assert.deepEqual([r.status, r.exitCode, r.signal], ['signalled', null, 11]);
});

test('files go in and out', async () => {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'moat-test-'));
  try {
    await sb.writeFile('d/ä ?&#', 'text');
    assert.equal(await sb.readFile('/w/d/ä ?&#', 'utf8'), 'text');
    const [entry] = await sb.listFiles('d');
    assert.deepEqual([entry.name, entry.size, entry.isDirectory], ['ä ?&#', 4, false]);
    const big = Buffer.alloc(3 << 20, 7);
    await fs.writeFile(path.join(dir, 'in'), big);
    await sb.copyIn(path.join(dir, 'in'), 'big');
    await sb.copyOut('big', path.join(dir, 'out'));
    assert.deepEqual(await fs.readFile(path.join(dir, 'out')), big);
    await sb.delete('big');
    await sb.delete('d', { recursive: true });
    await assert.rejects(sb.readFile('big'), refused('ENOENT'));
  } finally {
    await fs.rm(dir, { recursive: true });
  }
});

test('what cannot be done says why', async () => {
  await assert.rejects(sb.run(['/no/such']), (e) => refused('ENOENT')(e) && e.message.includes('/no/such'));
  await assert.rejects(sb.run(['a\0b']), refused('EINVAL'));
  await assert.rejects(sb.run('sh'), TypeError);
  await assert.rejects(sb.readFile('/w/../etc/passwd'), refused('EINVAL'));
  await sb.run(['sh', '-c', 'ln -sf /etc/passwd link; mkfifo -m 666 fifo']);
  await assert.rejects(sb.readFile('link'), refused('ELOOP'));
  await assert.rejects(sb.readFile('fifo'), refused('EINVAL'));
  await assert.rejects(sb.writeFile('/w', 'x'), refused('EISDIR'));
});

test('a reset leaves nothing, and sandboxes know nothing of each other', async () => {
  await sb.writeFile('f', 'x');
  const other = await server.sandbox();
  try {
    assert.deepEqual(await other.listFiles(), []);
    await assert.rejects(server.sandbox(), refused('EBUSY'));
  } finally {
    await other.close();
  }
  await assert.rejects(other.run(['true']), MoatError);
  await sb.reset();
  assert.deepEqual(await sb.listFiles(), []);
});

test('programs run at the same time', async () => {
  const all = await Promise.all([0, 1, 2, 3].map((i) => sb.run(['expr', `${i}`, '*', '7'])));
  assert.deepEqual(all.map((r) => r.stdout), ['0\n', '7\n', '14\n', '21\n']);
});

test('output comes as it is written', async () => {
  const seen = [];
  const r = await sb.run(['sh', '-c', 'cat; echo err >&2'], { input: 'in', onOutput: (n, data) => seen.push([n, data.toString()]) });
  assert.ok(r.ok && r.stdout === '');
  assert.equal(seen.filter(([n]) => n === 1).map(([, text]) => text).join(''), 'in');
  assert.equal(seen.filter(([n]) => n === 2).map(([, text]) => text).join(''), 'err\n');
  await assert.rejects(sb.run(['/no/such'], { onOutput: () => {} }), refused('ENOENT'));
});

test('a program is spoken with', async () => {
  let answer;
  const p = await sb.start(['sh', '-c', 'while read x; do echo got $x; done; exit 4'], { onOutput: (n, data) => answer(data.toString()) });
  for (const word of ['one', 'two']) {
    const heard = new Promise((resolve) => (answer = resolve));
    p.write(`${word}\n`);
    assert.equal(await heard, `got ${word}\n`);
  }
  p.end();
  assert.equal((await p.result).exitCode, 4);
  const big = Buffer.alloc(300000, 'x');
  const cat = await sb.start(['cat']);
  cat.write(big);
  cat.end();
  assert.deepEqual((await cat.result).stdoutBytes, big);
});

test('a terminal is typed at, and resized', async () => {
  let text = '';
  let look = () => {};
  const until = (wanted) => new Promise((resolve) => {
    look = () => text.includes(wanted) && resolve();
    look();
  });
  const p = await sb.start(['sh', '-c', 'stty -echo; stty size; while read l; do eval "$l"; done'], {
    terminal: { rows: 5, columns: 6 },
    onOutput: (n, data) => {
      text += data;
      look();
    },
  });
  await until('5 6\r\n');
  p.resize(33, 44);
  // The size is changed by another connection.
  p.write('until [ "$(stty size)" = "33 44" ]; do sleep 0.02; done; echo resized\n');
  await until('resized');
  p.write('exit 7\n');
  assert.equal((await p.result).exitCode, 7);
});

test('a signal cancels', async () => {
  const stop = new AbortController();
  const r = await sb.run(['sh', '-c', 'echo on; sleep 1000'], { signal: stop.signal, onOutput: () => stop.abort() });
  assert.equal(r.status, 'cancelled');
  await assert.rejects(sb.run(['true'], { signal: AbortSignal.abort() }), { name: 'AbortError' });
});

test('a request of judges is answered', async () => {
  const [r] = await server.judge({
    cmd: [{ args: ['echo', 'hello'], files: [{ content: '' }, { name: 'stdout', max: 100 }] }],
  });
  assert.deepEqual([r.status, r.files.stdout], ['Accepted', 'hello\n']);
  assert.match((await server.version()).buildVersion, /^moat /);
});

test('what is no moat is told so', async () => {
  await assert.rejects(Server.start({ moat: '/no/such' }), refused('ENOENT'));
  await assert.rejects(Server.start({ moat: '/bin/false' }), refused('EIO'));
  await assert.rejects(Server.connect({ socket: '/no/such' }).version(), refused('ENOENT'));
});

test('a sandbox ends with the program that has made it', async () => {
  const code = `
    const { Sandbox } = await import(${JSON.stringify(new URL('../index.js', import.meta.url).href)});
    const sb = await Sandbox.create();
    console.log((await sb.run(['echo', 'inside'])).stdout.trim());
    console.log((await import('node:fs')).readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8'));
    process.kill(process.pid, 'SIGKILL');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (data) => (out += data));
  await new Promise((resolve) => child.once('close', resolve));
  const [inside, pids] = out.trim().split('\n');
  assert.equal(inside, 'inside');
  for (const pid of pids.trim().split(' ')) {
    for (;;) {
      try {
        const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8');
        if (/\) [ZX] /.test(stat)) break; // nobody has to reap it here
      } catch {
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
});

test('sizes', () => {
  assert.deepEqual(['1', '2K', '3M', '1G', 5].map(parseSize), [1, 2048, 3 << 20, 1 << 30, 5]);
  for (const bad of ['', 'x', '-1', '1.5M', -1, 1.5]) assert.throws(() => parseSize(bad), RangeError);
});
