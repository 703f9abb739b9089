"""The genuine clients: TDLib and Telethon, each brought to say one req_pq_multi through a proxy.

Both are used as their own users use them; only Telethon's connection and plain sender are called without the account around them.
Neither gets a chance to reach anything but the proxy it is given.
"""

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from logging import getLogger

import tdjson
from telethon.network import MTProtoPlainSender
from telethon.network.connection import (
    ConnectionTcpMTProxyAbridged,
    ConnectionTcpMTProxyIntermediate,
    ConnectionTcpMTProxyRandomizedIntermediate,
)
from telethon.tl.functions import ReqPqMultiRequest
from telethon.tl.types import ResPQ

# TDLib gives up on a ping by itself after half of this.
ANSWER_SECONDS = 30

TELETHON = {
    "abridged": ConnectionTcpMTProxyAbridged,
    "intermediate": ConnectionTcpMTProxyIntermediate,
    "padded": ConnectionTcpMTProxyRandomizedIntermediate,
}


class Tdlib:
    """One TDLib instance in a directory of its own, told that there is no network: pings do not care, everything else keeps quiet."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="mtrelay-tdlib-")
        tdjson.td_execute(json.dumps({"@type": "setLogVerbosityLevel", "new_verbosity_level": 0}).encode())
        self.client = tdjson.td_create_client_id()
        self.asked = 0
        # In this order: TDLib keeps the first request until it has the parameters and then obeys it before it looks for any
        # data centre of its own.
        quiet = self.send({"@type": "setNetworkType", "type": {"@type": "networkTypeNone"}})
        parameters = {"database_directory": self.directory, "api_id": 1, "api_hash": "0"}
        parameters |= {"system_language_code": "en", "device_model": "test", "application_version": "1"}
        started = self.send({"@type": "setTdlibParameters", **parameters})
        for number in (quiet, started):
            answer = self.answer(number)
            if answer["@type"] != "ok":
                raise RuntimeError(f"TDLib did not start: {answer}")

    def send(self, request):
        self.asked += 1
        tdjson.td_send(self.client, json.dumps({**request, "@extra": self.asked}).encode())
        return self.asked

    def answer(self, number):
        return self.receive(lambda answer: answer.get("@extra") == number)

    def receive(self, wanted):
        deadline = time.monotonic() + ANSWER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            raw = tdjson.td_receive(left)
            answer = json.loads(raw) if raw else {}
            if answer.get("@client_id") == self.client and wanted(answer):
                return answer
        raise TimeoutError(f"TDLib did not answer within {ANSWER_SECONDS} s")

    def ping(self, address, secret):
        """`{"@type": "seconds", …}` once a DC answered through the proxy, else `{"@type": "error", …}`."""
        proxy = {"server": address[0], "port": address[1], "type": {"@type": "proxyTypeMtproto", "secret": secret}}
        return self.answer(self.send({"@type": "pingProxy", "proxy": {"@type": "proxy", **proxy}}))

    def close(self):
        tdjson.td_send(self.client, json.dumps({"@type": "close"}).encode())
        closed = {"@type": "authorizationStateClosed"}
        self.receive(lambda answer: answer.get("authorization_state") == closed)
        shutil.rmtree(self.directory)


async def telethon_req_pq(transport, address, secret, dc):
    """The nonce that was sent and the ResPQ that came back, through Telethon's own connection of that transport."""
    loggers = defaultdict(lambda: getLogger("telethon"))
    # The first two arguments are the DC's address, which a proxied connection leaves to the proxy.
    connection = TELETHON[transport]("127.0.0.1", 0, dc, loggers=loggers, proxy=(*address, secret))
    nonce = int.from_bytes(os.urandom(16), "little", signed=True)
    async with asyncio.timeout(ANSWER_SECONDS):
        try:
            await connection.connect(timeout=ANSWER_SECONDS)
            answer = await MTProtoPlainSender(connection, loggers=loggers).send(ReqPqMultiRequest(nonce))
        finally:
            await connection.disconnect()
            # Telethon forgets the socket of a proxy that hung up while it was still connecting.
            if connection._writer:
                connection._writer.close()
    assert isinstance(answer, ResPQ), answer
    return nonce, answer
