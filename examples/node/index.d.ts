/// <reference types="node" />

/** Bytes, or a text such as "512K", "256M", "2G". */
export type Size = number | string;

export type Status =
  | 'exited'
  | 'signalled'
  | 'cpu limit'
  | 'wall limit'
  | 'memory limit'
  | 'output limit'
  | 'cancelled';

/** What went wrong; `code` is the errno's name: ENOENT, EACCES, EPIPE (the sandbox is gone), ... */
export declare class MoatError extends Error {
  readonly name: 'MoatError';
  readonly code: string;
}

export declare function parseSize(size: Size): number;

export interface ServerOptions {
  /** The program; default $MOAT, or "moat" in PATH. */
  moat?: string;
  /** An image's directory instead of the host's programs and libraries. */
  rootfs?: string;
  /** "SRC:DST" or "SRC:DST:rw". */
  volumes?: readonly string[];
  /** Of each sandbox, in whole mebibytes. */
  memory?: Size;
  /** Of /w and of /tmp, each, in whole mebibytes. */
  disk?: Size;
  /** How many there may be at a time; default 16. */
  sandboxes?: number;
}

export type Address = { socket: string; token?: string } | { url: string; token?: string };

/** Limits are on the program and all that it starts, together. */
export interface RunOptions {
  /** Standard input; none: /dev/null. */
  input?: string | Uint8Array;
  /** Instead of a PATH, HOME=/w and LANG=C.UTF-8. */
  env?: Readonly<Record<string, string>>;
  /** Default /w. */
  cwd?: string;
  /** Seconds of the clock. */
  timeout?: number;
  /** Seconds of processor time. */
  cpu?: number;
  memory?: Size;
  /** Threads; beyond, fork fails with EAGAIN. */
  processes?: number;
  /** Of standard output and error together; beyond, it is killed. */
  output?: Size;
  fileSize?: Size;
  openFiles?: number;
  stack?: Size;
  /** What it has started may go on when it has ended. */
  keep?: boolean;
  /** A terminal of its own for 0, 1 and 2; output is stream 1. */
  terminal?: { rows?: number; columns?: number };
  /** Gets output as it comes, which the result has none of then. */
  onOutput?: (stream: 1 | 2, data: Buffer) => void;
  /** Cancels it. */
  signal?: AbortSignal;
}

/** A program that runs. */
export declare class Process {
  private constructor();
  /** Rejected when it could not be run. */
  readonly result: Promise<Result>;
  /** Types, or writes to its standard input; false: better wait before there is more. */
  write(data: string | Uint8Array): boolean;
  /** The end of its input. */
  end(): void;
  resize(rows: number, columns: number): void;
  cancel(): void;
}

export declare class Result {
  readonly status: Status;
  /** null unless it exited. */
  readonly exitCode: number | null;
  readonly signal: number | null;
  /** Seconds. */
  readonly userTime: number;
  readonly systemTime: number;
  readonly wallTime: number;
  /** Bytes. */
  readonly memoryPeak: number;
  readonly stdoutBytes: Buffer;
  readonly stderrBytes: Buffer;
  readonly stdoutTruncated: boolean;
  readonly stderrTruncated: boolean;
  get stdout(): string;
  get stderr(): string;
  /** It exited with 0. */
  get ok(): boolean;
}

export interface Entry {
  name: string;
  /** Type and permissions, as of stat(2). */
  mode: number;
  size: number;
  modified: Date;
  isDirectory: boolean;
}

export declare class Sandbox {
  private constructor();
  static create(options?: Omit<ServerOptions, 'sandboxes'>): Promise<Sandbox>;
  run(args: readonly string[], options?: RunOptions): Promise<Result>;
  /** Input and output are streamed. */
  start(args: readonly string[], options?: RunOptions): Promise<Process>;
  reset(): Promise<void>;
  writeFile(file: string, data: string | Uint8Array): Promise<void>;
  readFile(file: string): Promise<Buffer>;
  readFile(file: string, encoding: BufferEncoding): Promise<string>;
  copyIn(source: string, file: string): Promise<void>;
  copyOut(file: string, target: string): Promise<void>;
  listFiles(dir?: string): Promise<Entry[]>;
  delete(file: string, options?: { recursive?: boolean }): Promise<void>;
  close(): Promise<void>;
}

export declare class Server {
  private constructor();
  static start(options?: ServerOptions): Promise<Server>;
  static connect(where: Address): Server;
  sandbox(): Promise<Sandbox>;
  /** POST /run in the shape that go-judge's clients know. */
  judge(request: unknown): Promise<unknown>;
  version(): Promise<{ buildVersion: string; platform: string }>;
  close(): Promise<void>;
}
