// Requests to moat-serve: over a unix socket, or HTTP with a token.
import http from 'node:http';

/** What went wrong, with the errno's name that Linux has for it as `code`. */
export class MoatError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'MoatError';
    this.code = code;
  }
}

export class Client {
  /** @param where {socket} or {url, token} */
  constructor(where) {
    this.headers = where.token ? { Authorization: `Bearer ${where.token}` } : {};
    if (where.socket) {
      this.target = { socketPath: where.socket, host: 'localhost' };
    } else {
      const url = new URL(where.url);
      if (url.protocol !== 'http:') throw new TypeError(`not an http: address: ${where.url}`);
      this.target = { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port || 80 };
    }
    // A connection has a thread of the server's: those that are idle are used again.
    this.agent = new http.Agent({ keepAlive: true, maxFreeSockets: 4 });
  }

  close() {
    this.agent.destroy();
  }

  /** The answer's bytes; body: undefined, a Buffer, or what is to be JSON. */
  bytes(method, path, body) {
    const headers = { ...this.headers };
    if (Buffer.isBuffer(body)) {
      headers['Content-Type'] = 'application/octet-stream';
    } else if (body !== undefined) {
      body = Buffer.from(JSON.stringify(body));
      headers['Content-Type'] = 'application/json';
    }
    if (body) headers['Content-Length'] = body.length;
    return new Promise((resolve, reject) => {
      const fail = (e) => reject(new MoatError(e.code ?? 'EIO', `the server: ${e.message}`));
      const request = http.request({ ...this.target, agent: this.agent, method, path, headers }, (answer) => {
        const parts = [];
        answer.on('data', (part) => parts.push(part));
        answer.on('error', fail);
        answer.on('end', () => {
          const data = Buffer.concat(parts);
          if (answer.statusCode === 200) resolve(data);
          else reject(errorOf(answer.statusCode, data));
        });
      });
      request.on('error', fail);
      request.end(body);
    });
  }

  async json(method, path, body) {
    return JSON.parse((await this.bytes(method, path, body)).toString());
  }
}

function errorOf(status, data) {
  try {
    const { code, error } = JSON.parse(data.toString());
    return new MoatError(code ?? 'EIO', error);
  } catch {
    return new MoatError('EPROTO', `the server answers ${status}`);
  }
}
