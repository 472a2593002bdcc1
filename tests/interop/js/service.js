// grpc.testing.TestService as grpc-js loads it from our .proto file, for client.js and server.js.
'use strict';

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const PROTO = path.join(__dirname, '..', 'protos', 'grpc', 'testing', 'testing.proto');
const options = { keepCase: true, defaults: true, enums: Number, longs: Number };

module.exports = {
  grpc,
  testing: grpc.loadPackageDefinition(loader.loadSync(PROTO, options)).grpc.testing,
  ECHO_INITIAL: 'x-grpc-test-echo-initial',
  ECHO_TRAILING: 'x-grpc-test-echo-trailing-bin',
};
