// Sandboxes of moat for Node: see README.md. What moat-serve answers is checked there.
import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

import { Client, MoatError } from './client.js';
import { Stream } from './stream.js';

export { MoatError };

const NS = 1e9;

/** Bytes of 1024, "512K", "256M" or "2G". */
export function parseSize(size) {
  if (typeof size === 'number') {
    if (Number.isSafeInteger(size) && size >= 0) return size;
    throw new RangeError(`not a size: ${size}`);
  }
  const match = /^(\d+)([KMGT]?)i?B?$/i.exec(size);
  const bytes = match ? Number(match[1]) * 1024 ** ' KMGT'.indexOf(match[2].toUpperCase() || ' ') : NaN;
  if (!Number.isSafeInteger(bytes)) throw new RangeError(`not a size: ${size}`);
  return bytes;
}

/** A `moat serve` of our own, which ends with us, or one that runs already. */
export class Server {
  #client;
  #child;
  #dir;

  constructor(client, child, dir) {
    this.#client = client;
    this.#child = child;
    this.#dir = dir;
  }

  /** One that listens already: {socket}, or {url, token}. */
  static connect(where) {
    return new Server(new Client(where), undefined, undefined);
  }

  static async start(options = {}) {
    const program = options.moat ?? process.env.MOAT ?? 'moat';
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'moat-'));
    const socket = path.join(dir, 'http');
    const args = ['serve', '--unix', socket, '--until-eof'];
    if (options.rootfs) args.push('--rootfs', options.rootfs);
    if (options.sandboxes) args.push('--sessions', String(options.sandboxes));
    if (options.memory !== undefined) args.push('--memory', mebibytes(options.memory));
    if (options.disk !== undefined) args.push('--disk', mebibytes(options.disk));
    for (const volume of options.volumes ?? []) args.push('--volume', volume);
    try {
      const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
      await ready(child, program);
      return new Server(new Client({ socket }), child, dir);
    } catch (e) {
      await fs.rm(dir, { recursive: true, force: true });
      throw e;
    }
  }

  /** A sandbox of its own, as new. */
  async sandbox() {
    const { id } = await this.#client.json('POST', '/sandbox', {});
    return new Sandbox(this.#client, id, undefined);
  }

  /** POST /run in the shape that go-judge's clients know. */
  async judge(request) {
    return this.#client.json('POST', '/run', request);
  }

  async version() {
    return this.#client.json('GET', '/version');
  }

  async close() {
    this.#client.close();
    if (this.#child) {
      const child = this.#child;
      this.#child = undefined;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.signalCode === null) {
        child.ref();
        child.stdin.end();
        await ended;
      }
      await fs.rm(this.#dir, { recursive: true, force: true });
    }
  }

  async [Symbol.asyncDispose ?? Symbol('asyncDispose')]() {
    await this.close();
  }
}

function mebibytes(size) {
  return String(Math.max(1, Math.ceil(parseSize(size) / 1024 ** 2)));
}

function ready(child, program) {
  return new Promise((resolve, reject) => {
    let line = '';
    let complaint = '';
    child.once('error', (e) => reject(new MoatError(e.code ?? 'EIO', `cannot run ${program}: ${e.message}`)));
    child.once('exit', () => {
      reject(new MoatError('EIO', complaint.split('\n')[0] || `${program} serve has ended`));
    });
    child.stdin.on('error', () => {});
    child.stderr.on('data', (data) => {
      complaint = (complaint + data).slice(0, 4096);
    });
    child.stdout.on('data', (data) => {
      line += data;
      if (line.startsWith('ready ') && line.includes('\n')) resolve();
    });
  }).finally(() => {
    // It keeps no program alive that has nothing more to do, and ends with it.
    child.unref();
    for (const stream of child.stdio) stream.unref();
  });
}

/** A sandbox in which programs run, one after the other or several at once. */
export class Sandbox {
  #client;
  #base;
  #server;

  constructor(client, id, server) {
    this.#client = client;
    this.#base = `/sandbox/${id}`;
    this.#server = server;
  }

  /** One with a server of its own. */
  static async create(options = {}) {
    const server = await Server.start({ ...options, sandboxes: 1 });
    try {
      const sandbox = await server.sandbox();
      sandbox.#server = server;
      return sandbox;
    } catch (e) {
      await server.close();
      throw e;
    }
  }

  /** Runs a program to its end. With onOutput or signal its output is streamed. */
  async run(args, options = {}) {
    if (options.onOutput || options.signal || options.terminal) {
      const process = await this.start(args, options);
      process.end();
      return process.result;
    }
    const answer = await this.#client.json('POST', `${this.#base}/run`, onWire(args, options));
    return new Result(answer);
  }

  /** Starts a program whose input and output are streamed. */
  async start(args, options = {}) {
    options.signal?.throwIfAborted();
    const process = new Process(options);
    await process.begin(this.#client, `${this.#base}/stream`, onWire(args, options));
    return process;
  }

  /** Kills all that runs, and empties /w and /tmp: nothing of earlier programs can be found. */
  async reset() {
    await this.#client.json('POST', `${this.#base}/reset`, {});
  }

  /** Makes directories that are missing. The path is absolute, or relative to /w. */
  async writeFile(file, data) {
    await this.#client.json('PUT', this.#file('file', file), Buffer.from(data));
  }

  /** A Buffer, or a string with an encoding. */
  async readFile(file, encoding) {
    const data = await this.#client.bytes('GET', this.#file('file', file));
    return encoding ? data.toString(encoding) : data;
  }

  async copyIn(source, file) {
    await this.writeFile(file, await fs.readFile(source));
  }

  async copyOut(file, target) {
    await fs.writeFile(target, await this.readFile(file));
  }

  async listFiles(dir = '/w') {
    const entries = await this.#client.json('GET', this.#file('tree', dir));
    return entries.map((e) => ({
      name: e.name ?? Buffer.from(e.bytes, 'base64').toString('latin1'),
      mode: e.mode,
      size: e.size,
      modified: new Date(e.modified / 1e6),
      isDirectory: (e.mode & 0o170000) === 0o040000,
    }));
  }

  async delete(file, { recursive = false } = {}) {
    await this.#client.json('DELETE', this.#file(recursive ? 'tree' : 'file', file));
  }

  /** Ends the sandbox and all that runs in it. */
  async close() {
    if (!this.#base) return;
    const base = this.#base;
    this.#base = '';
    try {
      await this.#client.json('DELETE', base);
    } catch (e) {
      if (!(e instanceof MoatError)) throw e; // it is gone: that was wanted
    }
    await this.#server?.close();
  }

  async [Symbol.asyncDispose ?? Symbol('asyncDispose')]() {
    await this.close();
  }

  #file(kind, file) {
    const absolute = file.startsWith('/') ? file : `/w/${file}`;
    return `${this.#base}/${kind}?path=${encodeURIComponent(absolute)}`;
  }
}

/** A program that runs. `result` is a promise of its Result; it is cancelled by an AbortSignal, too. */
export class Process {
  #stream;
  #out = { 1: [], 2: [] };
  #onOutput;
  #abort;
  #answer;
  #settle;

  constructor({ onOutput, signal }) {
    this.#onOutput = onOutput;
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Who does not ask is not told, rather than ended.
    this.result.catch(() => {});
    if (signal) {
      const cancel = () => this.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      this.#abort = () => signal.removeEventListener('abort', cancel);
      this.signal = signal;
    }
  }

  /** For Sandbox.start(). */
  async begin(client, path, request) {
    try {
      const [socket, first] = await Stream.connect(client, path);
      this.#stream = new Stream(socket, first, (m) => this.#message(m), (e) => this.#close(e));
      this.#stream.send(Buffer.of(1), Buffer.from(JSON.stringify(request)));
      if (this.signal?.aborted) this.cancel();
    } catch (e) {
      this.#close(e);
      throw e;
    }
  }

  /** Types, or writes to its standard input; false: better wait for output before there is more. */
  write(data) {
    const bytes = Buffer.from(data);
    return bytes.length === 0 || this.#stream.send(Buffer.of(3, 0), bytes);
  }

  /** The end of its input. */
  end() {
    this.#stream.send(Buffer.of(3, 0));
  }

  resize(rows, columns) {
    this.#stream.send(Buffer.of(2), Buffer.from(JSON.stringify({ rows, cols: columns })));
  }

  /** Kills it. */
  cancel() {
    this.#stream?.send(Buffer.of(4));
  }

  #message(m) {
    if (m[0] === 1) {
      this.#answer = JSON.parse(m.subarray(1).toString());
    } else if (m[0] === 2 && this.#out[m[1]]) {
      const data = Buffer.from(m.subarray(2));
      if (this.#onOutput) this.#onOutput(m[1], data);
      else this.#out[m[1]].push(data);
    }
  }

  #close(error) {
    this.#abort?.();
    const answer = this.#answer;
    if (answer?.error) {
      this.#settle.reject(new MoatError(answer.code ?? 'EIO', answer.error));
    } else if (answer) {
      const [stdout, stderr] = [1, 2].map((i) => Buffer.concat(this.#out[i]).toString('base64'));
      this.#settle.resolve(new Result({ ...answer, stdout, stderr }));
    } else {
      this.#settle.reject(error ?? new MoatError('EPIPE', 'the server is gone'));
    }
  }
}

/** How a program ended. Times are in seconds. */
export class Result {
  constructor(answer) {
    this.status = answer.status;
    this.exitCode = answer.exitCode;
    this.signal = answer.signal;
    this.userTime = answer.userTime / NS;
    this.systemTime = answer.systemTime / NS;
    this.wallTime = answer.wallTime / NS;
    this.memoryPeak = answer.memoryPeak;
    this.stdoutBytes = Buffer.from(answer.stdout, 'base64');
    this.stderrBytes = Buffer.from(answer.stderr, 'base64');
    this.stdoutTruncated = answer.stdoutTruncated;
    this.stderrTruncated = answer.stderrTruncated;
  }

  get stdout() {
    return this.stdoutBytes.toString();
  }

  get stderr() {
    return this.stderrBytes.toString();
  }

  /** It exited with 0. */
  get ok() {
    return this.status === 'exited' && this.exitCode === 0;
  }
}

function onWire(args, options) {
  if (!Array.isArray(args) || !args.length) throw new TypeError('args must be a list of strings, the program first');
  const seconds = (value) => (value === undefined ? undefined : Math.max(1, Math.round(value * NS)));
  const bytes = (value) => (value === undefined ? undefined : parseSize(value));
  return {
    args: args.map(String),
    env: options.env && Object.entries(options.env).map(([name, value]) => `${name}=${value}`),
    cwd: options.cwd,
    input: options.input === undefined ? undefined : Buffer.from(options.input).toString('base64'),
    timeout: seconds(options.timeout),
    cpu: seconds(options.cpu),
    memory: bytes(options.memory),
    processes: options.processes,
    output: bytes(options.output),
    fileSize: bytes(options.fileSize),
    openFiles: options.openFiles,
    stack: bytes(options.stack),
    keep: options.keep,
    terminal: options.terminal && { rows: options.terminal.rows, cols: options.terminal.columns },
  };
}
