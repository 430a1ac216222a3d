// A WebSocket (RFC 6455) to moat-serve, the client's side: Node has one of its own only since 22, and
// that knows no unix sockets.
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';

import { MoatError } from './client.js';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Calls onMessage(Buffer) for each message, onClose(error or undefined) once, when it is over. */
export class Stream {
  #socket;
  #data = Buffer.alloc(0);
  #onMessage;
  #onClose;

  constructor(socket, first, onMessage, onClose) {
    this.#socket = socket;
    this.#onMessage = onMessage;
    this.#onClose = onClose;
    socket.on('data', (data) => this.#receive(data));
    socket.on('error', (e) => this.#end(new MoatError(e.code ?? 'EIO', `the server: ${e.message}`)));
    socket.on('close', () => this.#end());
    if (first.length) this.#receive(first);
  }

  /** Resolves to the arguments (socket, first bytes) for a Stream. */
  static connect(client, path) {
    const key = randomBytes(16).toString('base64');
    const headers = {
      ...client.headers,
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': key,
    };
    return new Promise((resolve, reject) => {
      const request = http.request({ ...client.target, path, headers, agent: false });
      request.on('upgrade', (answer, socket, first) => {
        const wanted = createHash('sha1').update(key + GUID).digest('base64');
        if (answer.headers['sec-websocket-accept'] === wanted) return resolve([socket, first]);
        socket.destroy();
        return reject(new MoatError('EPROTO', 'the server speaks no WebSocket'));
      });
      request.on('response', (answer) => {
        answer.resume();
        reject(new MoatError('EPROTO', `the server answers ${answer.statusCode}`));
      });
      request.on('error', (e) => reject(new MoatError(e.code ?? 'EIO', `the server: ${e.message}`)));
      request.end();
    });
  }

  /** A message of these parts; false: more than is good waits to be sent. */
  send(...parts) {
    return this.#frame(2, Buffer.concat(parts));
  }

  close() {
    this.#socket.destroy();
  }

  #frame(op, payload) {
    const n = payload.length;
    const extra = n < 126 ? 0 : n < 65536 ? 2 : 8;
    const head = Buffer.alloc(2 + extra + 4);
    head[0] = 0x80 | op;
    head[1] = 0x80 | (extra === 0 ? n : extra === 2 ? 126 : 127);
    if (extra === 2) head.writeUInt16BE(n, 2);
    if (extra === 8) head.writeBigUInt64BE(BigInt(n), 2);
    const mask = randomBytes(4);
    mask.copy(head, 2 + extra);
    const masked = Buffer.from(payload);
    for (let i = 0; i < n; i++) masked[i] ^= mask[i & 3];
    this.#socket.write(head);
    return this.#socket.write(masked);
  }

  #receive(data) {
    this.#data = this.#data.length ? Buffer.concat([this.#data, data]) : data;
    for (;;) {
      if (this.#data.length < 2) return;
      const short = this.#data[1] & 0x7f;
      const extra = short === 126 ? 2 : short === 127 ? 8 : 0;
      if (this.#data.length < 2 + extra) return;
      const n = extra === 2 ? this.#data.readUInt16BE(2) : extra === 8 ? Number(this.#data.readBigUInt64BE(2)) : short;
      if (this.#data.length < 2 + extra + n) return;
      const op = this.#data[0] & 15;
      const payload = this.#data.subarray(2 + extra, 2 + extra + n);
      this.#data = this.#data.subarray(2 + extra + n);
      // The server sends each message whole.
      if (op === 2) this.#onMessage(payload);
      else if (op === 9) this.#frame(10, payload);
      else if (op === 8) this.#socket.end();
    }
  }

  #end(error) {
    const onClose = this.#onClose;
    this.#onClose = undefined;
    onClose?.(error);
  }
}
