// gRPC's interop cases by a grpc-js client: node client.js PORT [CA]
// Prints a JSON line for each case: {"case": NAME, "failure": TEXT or null}.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const { grpc, testing, ECHO_INITIAL, ECHO_TRAILING } = require('./service');

const REQUEST_SIZES = [27182, 8, 1828, 45904];
const RESPONSE_SIZES = [31415, 9, 2653, 58979];
const CASE_TIMEOUT_MS = 30000;

const [port, ca] = process.argv.slice(2);
const credentials = ca ? grpc.credentials.createSsl(fs.readFileSync(ca)) : grpc.credentials.createInsecure();
const connect = (options = {}, service = testing.TestService) =>
  // A pool of its own for each client, so that channel_soak makes connections.
  new service(`127.0.0.1:${port}`, credentials, { 'grpc.use_local_subchannel_pool': 1, ...options });

const payload = (size) => ({ body: Buffer.alloc(size) });
const large = () => ({ response_size: 314159, payload: payload(271828) });
const outputs = (sizes, requestSize = 0) => ({
  response_parameters: sizes.map((size) => ({ size })),
  payload: payload(requestSize),
});

// A call's end as a promise: {error, response, initial, trailing}, for calls that answer once.
function once(start) {
  return new Promise((resolve) => {
    const outcome = {};
    const call = start((error, response) => Object.assign(outcome, { error, response }));
    call.on('metadata', (metadata) => (outcome.initial = metadata));
    call.on('status', (status) => resolve(Object.assign(outcome, { trailing: status.metadata, status })));
  });
}

// The same for calls that stream responses; `onResponse(n)` after each.
function many(call, onResponse = () => {}) {
  return new Promise((resolve) => {
    const outcome = { sizes: [] };
    call.on('metadata', (metadata) => (outcome.initial = metadata));
    call.on('data', (response) => onResponse(outcome.sizes.push(response.payload ? response.payload.body.length : 0)));
    call.on('error', (error) => (outcome.error = error));
    call.on('status', (status) => resolve(Object.assign(outcome, { trailing: status.metadata, status })));
  });
}

async function unary(client, request = large()) {
  const { error, response } = await once((reply) => client.UnaryCall(request, reply));
  if (error) throw error;
  assert.strictEqual(response.payload.body.length, request.response_size);
}

async function status(client, text) {
  const response_status = { code: grpc.status.UNKNOWN, message: text };
  const { error } = await once((reply) => client.UnaryCall({ response_status }, reply));
  assert.deepStrictEqual([error.code, error.details], [grpc.status.UNKNOWN, text]);
  const call = client.FullDuplexCall();
  const ended = many(call);
  call.write({ response_status });
  call.end();
  const outcome = await ended;
  assert.deepStrictEqual([outcome.status.code, outcome.status.details], [grpc.status.UNKNOWN, text]);
}

function metadata() {
  const given = new grpc.Metadata();
  given.set(ECHO_INITIAL, 'test_initial_metadata_value');
  given.set(ECHO_TRAILING, Buffer.from('ababab', 'hex'));
  return given;
}

function checkMetadata({ initial, trailing }) {
  assert.deepStrictEqual(initial.get(ECHO_INITIAL), ['test_initial_metadata_value']);
  assert.deepStrictEqual(trailing.get(ECHO_TRAILING), [Buffer.from('ababab', 'hex')]);
}

async function clientStreaming(client, sizes, extra = {}) {
  const { error, response } = await once((reply) => {
    const call = client.StreamingInputCall(reply);
    for (const size of sizes) call.write({ payload: payload(size), ...extra });
    call.end();
    return call;
  });
  if (error) throw error;
  assert.strictEqual(response.aggregated_payload_size, sizes.reduce((sum, size) => sum + size));
}

const GZIP = { 'grpc.default_compression_algorithm': 2 };

const cases = {
  async empty_unary(client) {
    const { error } = await once((reply) => client.EmptyCall({}, reply));
    if (error) throw error;
  },
  large_unary: (client) => unary(client),
  client_streaming: (client) => clientStreaming(client, REQUEST_SIZES),
  async server_streaming(client) {
    const { sizes } = await many(client.StreamingOutputCall(outputs(RESPONSE_SIZES)));
    assert.deepStrictEqual(sizes, RESPONSE_SIZES);
  },
  async ping_pong(client) {
    const call = client.FullDuplexCall();
    const send = (n) => call.write(outputs([RESPONSE_SIZES[n]], REQUEST_SIZES[n]));
    const ended = many(call, (count) => (count < RESPONSE_SIZES.length ? send(count) : call.end()));
    send(0);
    assert.deepStrictEqual((await ended).sizes, RESPONSE_SIZES);
  },
  async empty_stream(client) {
    const call = client.FullDuplexCall();
    const ended = many(call);
    call.end();
    const outcome = await ended;
    assert.deepStrictEqual([outcome.sizes, outcome.status.code], [[], grpc.status.OK]);
  },
  async timeout_on_sleeping_server(client) {
    const call = client.FullDuplexCall({ deadline: Date.now() + 1 });
    const ended = many(call);
    call.write({ payload: payload(27182) });
    assert.strictEqual((await ended).status.code, grpc.status.DEADLINE_EXCEEDED);
  },
  async cancel_after_begin(client) {
    const { error } = await once((reply) => {
      const call = client.StreamingInputCall(reply);
      call.cancel();
      return call;
    });
    assert.strictEqual(error.code, grpc.status.CANCELLED);
  },
  async cancel_after_first_response(client) {
    const call = client.FullDuplexCall();
    const ended = many(call, () => call.cancel());
    call.write(outputs([31415], 27182));
    assert.strictEqual((await ended).status.code, grpc.status.CANCELLED);
  },
  status_code_and_message: (client) => status(client, 'test status message'),
  special_status_message: (client) =>
    status(client, '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n'),
  async unimplemented_method(client) {
    const { error } = await once((reply) => client.UnimplementedCall({}, reply));
    assert.strictEqual(error.code, grpc.status.UNIMPLEMENTED);
  },
  async unimplemented_service() {
    const client = connect({}, testing.UnimplementedService);
    const { error } = await once((reply) => client.UnimplementedCall({}, reply));
    assert.strictEqual(error.code, grpc.status.UNIMPLEMENTED);
  },
  async custom_metadata(client) {
    checkMetadata(await once((reply) => client.UnaryCall(large(), metadata(), reply)));
    const call = client.FullDuplexCall(metadata());
    const ended = many(call);
    call.write(outputs([314159], 271828));
    call.end();
    checkMetadata(await ended);
  },
  async client_compressed_unary(client) {
    await unary(connect(GZIP), { ...large(), expect_compressed: { value: true } });
    await unary(client, { ...large(), expect_compressed: { value: false } });
    const wrong = { ...large(), expect_compressed: { value: true } };
    const { error } = await once((reply) => client.UnaryCall(wrong, reply));
    assert.strictEqual(error.code, grpc.status.INVALID_ARGUMENT);
  },
  async client_compressed_streaming(client) {
    await clientStreaming(connect(GZIP), [27182, 45904], { expect_compressed: { value: true } });
    await clientStreaming(client, [27182, 45904], { expect_compressed: { value: false } });
  },
  async rpc_soak(client) {
    for (let n = 0; n < 10; n++) await unary(client);
  },
  async channel_soak() {
    for (let n = 0; n < 10; n++) {
      const client = connect();
      await unary(client);
      client.close();
    }
  },
  // Not gRPC's: 20 calls at once with 3 MB each way.
  megabytes_at_once: (client) =>
    Promise.all(Array.from({ length: 20 }, () => unary(client, { response_size: 3e6, payload: payload(3e6) }))),
};

async function main() {
  for (const [name, run] of Object.entries(cases)) {
    const client = connect();
    let failure = null;
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('did not end')), CASE_TIMEOUT_MS);
    });
    try {
      await Promise.race([run(client), late]);
    } catch (error) {
      failure = String(error.message || error);
    }
    clearTimeout(timer);
    client.close();
    console.log(JSON.stringify({ case: name, failure }));
  }
  process.exit();
}

main();
