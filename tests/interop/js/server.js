// A grpc-js server of grpc.testing.TestService: node server.js [CERTIFICATE KEY]
// Prints its port and serves on 127.0.0.1 until its standard input ends.
'use strict';

const fs = require('node:fs');
const { grpc, testing, ECHO_INITIAL, ECHO_TRAILING } = require('./service');

// Tells the client what it asked to be told; returns the trailing metadata.
function echo(call) {
  const initial = call.metadata.get(ECHO_INITIAL);
  if (initial.length) {
    const metadata = new grpc.Metadata();
    metadata.set(ECHO_INITIAL, initial[0]);
    call.sendMetadata(metadata);
  }
  const trailing = new grpc.Metadata();
  for (const value of call.metadata.get(ECHO_TRAILING)) trailing.add(ECHO_TRAILING, value);
  return trailing;
}

const payload = (size) => ({ body: Buffer.alloc(size) });
const status = (wanted, metadata) =>
  wanted && wanted.code ? { code: wanted.code, details: wanted.message, metadata } : null;
const sleep = (microseconds) => new Promise((resolve) => setTimeout(resolve, microseconds / 1000));

async function write(call, wanted) {
  for (const each of wanted) {
    if (each.interval_us) await sleep(each.interval_us);
    if (!call.write({ payload: payload(each.size) })) await new Promise((resolve) => call.once('drain', resolve));
  }
}

const handlers = {
  EmptyCall: (call, reply) => reply(null, {}, echo(call)),
  UnaryCall(call, reply) {
    const trailing = echo(call);
    const error = status(call.request.response_status, trailing);
    if (error) reply(error);
    else reply(null, { payload: payload(call.request.response_size) }, trailing);
  },
  async StreamingOutputCall(call) {
    await write(call, call.request.response_parameters);
    call.end();
  },
  StreamingInputCall(call, reply) {
    let size = 0;
    call.on('data', (request) => (size += request.payload ? request.payload.body.length : 0));
    call.on('error', () => {});
    call.on('end', () => reply(null, { aggregated_payload_size: size }));
  },
  FullDuplexCall(call) {
    const trailing = echo(call);
    let last = Promise.resolve(); // requests are answered one after the other
    let failed = false;
    call.on('error', () => {}); // a client that cancelled
    call.on('data', (request) => {
      last = last.then(async () => {
        await write(call, request.response_parameters);
        const error = status(request.response_status, trailing);
        if (error) {
          failed = true;
          call.emit('error', error);
        }
      });
    });
    call.on('end', () => last.then(() => failed || call.end(trailing)));
  },
};

const [certificate, key] = process.argv.slice(2);
const credentials = certificate
  ? grpc.ServerCredentials.createSsl(null, [
      { cert_chain: fs.readFileSync(certificate), private_key: fs.readFileSync(key) },
    ])
  : grpc.ServerCredentials.createInsecure();
const server = new grpc.Server({ 'grpc.max_receive_message_length': 1 << 22 });
server.addService(testing.TestService.service, handlers);
server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
  if (error) throw error;
  console.log(port);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit());
