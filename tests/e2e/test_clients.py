#!/usr/bin/python3
"""Clients that we did not write: Debian's pynvim and Neovim, and msgpack-rpc-lite from npm."""
import json
import os
import shutil
import subprocess
import tempfile

from whorl import PATIENCE, Server, World, answers, unittest

NODE_CLIENT = """
const rpc = require('msgpack-rpc-lite');
const [port, request] = [Number(process.argv[2]), JSON.parse(process.argv[3])];
const fs = require('fs');
for (const sample of request.samples) sample.data = fs.readFileSync(sample.data);
const client = rpc.createClient(port, '127.0.0.1', 0, {decode: {}});
(async () => {
    const [pong] = await client.request('ping');
    const [result] = await client.request('identify', request);
    console.log(JSON.stringify({pong, result}));
    process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"""

NEOVIM_CLIENT = """
local port, path = os.getenv('WHORL_PORT'), os.getenv('WHORL_REQUEST')
local request = vim.fn.json_decode(vim.fn.readfile(path))
for _, sample in ipairs(request.samples) do
    local file = io.open(sample.data, 'rb')
    sample.data = file:read('*a')
    file:close()
end
local channel = vim.fn.sockconnect('tcp', '127.0.0.1:' .. port, {rpc = true})
local pong = vim.fn.rpcrequest(channel, 'ping')
local result = vim.fn.rpcrequest(channel, 'identify', request)
io.stdout:write(vim.fn.json_encode({pong = pong, result = result}) .. '\\n')
"""


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.world.add_plain_listener()
        cls.server = Server(cls.world)
        cls.port = str(cls.server.ports["plain"])

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def request(self):
        """A request whose samples name files: what JSON can carry to another process."""
        request = self.world.request()
        request["samples"] = [{"modality": "finger", "format": "png", "position": p, "dpi": 500,
                               "data": self.world.print_of(3, p)} for p in (2, 7)]
        return request

    def check(self, pong, result):
        self.assertEqual(pong, "pong")
        found = answers(result)
        self.assertEqual(found["ident1"]["class"], "match")
        self.assertEqual(found["pnc"]["class"], "match")

    def run_client(self, command, **kwargs):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout.strip().splitlines()[-1])
        self.check(said["pong"], said["result"])

    def test_pynvim(self):
        try:
            from pynvim import msgpack_rpc
        except ImportError:
            self.skipTest("python3-pynvim is not installed")
        session = msgpack_rpc.tcp_session("127.0.0.1", int(self.port))
        request = self.world.request(3)
        try:
            self.check(session.request("ping"), session.request("identify", request))
        finally:
            session.close()

    def test_neovim(self):
        if not shutil.which("nvim"):
            self.skipTest("neovim is not installed")
        with tempfile.TemporaryDirectory() as home:
            request, script = os.path.join(home, "request.json"), os.path.join(home, "client.lua")
            with open(request, "w", encoding="utf-8") as file:
                json.dump(self.request(), file)
            with open(script, "w", encoding="utf-8") as file:
                file.write(NEOVIM_CLIENT)
            self.run_client(["nvim", "--headless", "--clean", "-c", f"luafile {script}", "-c", "qa!"],
                            env=dict(os.environ, HOME=home, WHORL_PORT=self.port,
                                     WHORL_REQUEST=request))

    def test_node_client_from_npm(self):
        if not shutil.which("node") or not shutil.which("npm"):
            self.skipTest("node and npm are not installed")
        with tempfile.TemporaryDirectory() as home:
            got = subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund",
                                  "--ignore-scripts", "--prefix", home, "msgpack-rpc-lite@1.0.2"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=PATIENCE)
            if got.returncode != 0:
                self.skipTest("the npm registry is out of reach")
            script = os.path.join(home, "client.js")
            with open(script, "w", encoding="utf-8") as file:
                file.write(NODE_CLIENT)
            self.run_client(["node", script, self.port, json.dumps(self.request())])


if __name__ == "__main__":
    unittest.main()
