#!/bin/bash
command -v node >/dev/null || exit 77
cat >main.js <<'EOF'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const { execFileSync, spawn, fork, exec } = require('child_process');
const fs = require('fs'), os = require('os'), path = require('path'), crypto = require('crypto'), zlib = require('zlib'), net = require('net');
if (!isMainThread) {
	let sum = 0;
	for (let i = 0; i < 100000; i++) sum += i % workerData;
	parentPort.postMessage(sum);
} else if (process.argv[2] === 'child') {
	process.on('message', m => { process.send({ got: m }); process.exit(3); });
} else (async () => {
	const results = await Promise.all([2, 3, 5, 7].map(n => new Promise((ok, bad) => {
		const w = new Worker(__filename, { workerData: n }); w.on('message', ok); w.on('error', bad);
	})));
	console.log(results);
	console.log(execFileSync('echo', ['from a child']).toString());
	await new Promise(ok => { const c = fork(__filename, ['child']); c.on('message', m => console.log(m)); c.send('hello'); c.on('exit', code => { console.log('exit', code); ok(); }); });
	await new Promise(ok => { const c = spawn('cat'); let n = 0; c.stdout.on('data', d => n += d.length); c.on('close', code => { console.log(n, code); ok(); }); c.stdin.end(Buffer.alloc(1 << 20)); });
	fs.writeFileSync('f', 'text'); console.log((await fs.promises.readFile('f')).toString(), (await fs.promises.stat('f')).size, fs.readdirSync('.').sort());
	console.log(crypto.createHash('sha256').update('x'.repeat(1e6)).digest('hex'), zlib.gunzipSync(zlib.gzipSync('zipped')).toString());
	const server = net.createServer(s => s.on('data', d => s.end(d.toString().toUpperCase()))).listen('sock');
	await new Promise(ok => net.connect('sock', function () { this.write('over a socket'); }).on('data', d => console.log(d.toString())).on('close', ok)); server.close();
	process.on('SIGUSR2', () => console.log('signal')); process.kill(process.pid, 'SIGUSR2'); await new Promise(ok => setTimeout(ok, 50));
	let err; try { fs.readFileSync('/no/such'); } catch (e) { err = e.code; } console.log(err, process.platform, os.EOL.length);
	process.exitCode = 7;
})();
EOF
node main.js; echo "status $?"; node -e 'process.abort()' 2>/dev/null; echo "status $?"; echo 'console.log(1+1)' | node -
