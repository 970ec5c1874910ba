// A device in JavaScript: identifies somebody by one scan, over TLS. Needs Node and, from npm,
// @msgpack/msgpack (npm install @msgpack/msgpack).
//
//     node device.js HOST:PORT CERT KEY CA OFFICER IMAGE.png
//
// Prints the server's result as JSON. After a lost connection it sends the same request id again, so
// that the server searches nothing twice; `busy` is tried again when the server says.
'use strict';
const {randomUUID} = require('crypto');
const fs = require('fs');
const tls = require('tls');
const {encode, decodeMultiStream} = require('@msgpack/msgpack');

const PATIENCE = 60000; // milliseconds for everything together

class Refused extends Error { // an error that the server answered with
    constructor(error) {
        super(`${error.code}: ${error.message}`);
        this.error = error;
    }
}

class Lost extends Error {}

// One msgpack-RPC call on a fresh connection.
async function attempt(server, method, argument, until) {
    const socket = tls.connect({...server, minVersion: 'TLSv1.3'});
    const timer = setTimeout(() => socket.destroy(new Error('the server did not answer in time')),
        until - Date.now());
    try {
        socket.write(encode([0, 1, method, [argument]]));
        for await (const message of decodeMultiStream(socket)) {
            if (message[0] === 1) {
                if (message[2] !== null) throw new Refused(message[2]);
                return message[3];
            }
            if (message[1] === 'error') throw new Refused(message[2][0]); // the connection's last word
            console.error(message[1], JSON.stringify(message[2][0]));
        }
        throw new Lost('the server closed the connection');
    } catch (error) {
        // What comes of a connection that ends in the middle; anything else stays what it is.
        const cut = ['ECONNRESET', 'ECONNREFUSED', 'EPIPE'].includes(error.code) ||
            error instanceof RangeError;
        throw cut ? new Lost(error.message) : error;
    } finally {
        clearTimeout(timer);
        socket.destroy();
    }
}

// Calls what may be repeated, however many connections it takes.
async function call(server, method, argument) {
    const until = Date.now() + PATIENCE;
    for (let wait = 250; ; wait = Math.min(wait * 2, 10000)) {
        let pause = wait, why;
        try {
            return await attempt(server, method, argument, until);
        } catch (error) {
            const passing = error instanceof Refused && ['busy', 'draining'].includes(error.error.code);
            if (!passing && !(error instanceof Lost)) throw error;
            if (passing) pause = Math.max(wait, error.error.retry_ms || 0);
            why = error;
        }
        if (Date.now() + pause >= until) throw why;
        console.error(`${why.message}; again in ${pause} ms`);
        await new Promise((resolve) => setTimeout(resolve, pause));
    }
}

async function main(address, cert, key, ca, officer, image) {
    const colon = address.lastIndexOf(':');
    const server = {
        host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)),
        cert: fs.readFileSync(cert), key: fs.readFileSync(key), ca: fs.readFileSync(ca),
    };
    const result = await call(server, 'identify', {
        request_id: randomUUID(), officer, basis: 'consent', consent: 'given', stop_power: 'rta-163',
        reason: 'Name doubted at a road check',
        samples: [{modality: 'finger', format: 'png', position: 2, dpi: 500,
            data: fs.readFileSync(image)}],
    });
    console.log(JSON.stringify(result, null, 2));
}

if (process.argv.length !== 8) {
    console.error('usage: node device.js HOST:PORT CERT KEY CA OFFICER IMAGE.png');
    process.exit(1);
}
main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
