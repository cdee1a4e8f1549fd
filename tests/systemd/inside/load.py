"""Callers at a steady rate inside the box, until SIGTERM: what each call came to is in the report that is written then.

    load.py CLIENT CALLS_PER_SECOND REPORT

Three of four calls are made the way long-running programs make them, by gRPC on channels that stay open; the fourth
the way shells do, by a `bearerd token` with a connection of its own. No call is repeated by this program.
"""

import json
import pathlib
import signal
import subprocess
import sys
import threading
import time

import grpc

CLIENT, RATE, REPORT = sys.argv[1], float(sys.argv[2]), pathlib.Path(sys.argv[3])
CHANNELS, THREADS_EACH, SHELLS = 4, 3, 4
# A call that takes this long has failed, in seconds.
LIMIT = 10
# Where the id is: field 5 of Token, which is field 1 of GetTokenResponse.
TOKEN, ID = 1, 5
STOP = threading.Event()
LOCK = threading.Lock()
CALLS = {"channel": 0, "shell": 0}
FAILED, IDS, SLOWEST = [], set(), 0.0


def every(interval, kind, call):
    """Makes the call at each beat; one that is late is followed at once, so that a pause is made up for."""
    beat = time.monotonic()
    while not STOP.is_set():
        began = time.monotonic()
        try:
            identity, failure = call(), None
        except Exception as error:
            identity, failure = None, f"{kind}: {error}"
        record(kind, identity, failure, time.monotonic() - began)
        beat += interval
        STOP.wait(max(0.0, beat - time.monotonic()))


def record(kind, identity, failure, took):
    global SLOWEST
    with LOCK:
        CALLS[kind] += 1
        SLOWEST = max(SLOWEST, took)
        if failure is None:
            IDS.add(identity)
        else:
            FAILED.append(failure[:500])


def caller(channel):
    ask = channel.unary_unary("/bearerd.v1.TokenBroker/GetToken", request_serializer=bytes, response_deserializer=bytes)
    # GetTokenRequest: field 1, the client's name.
    request = b"\x0a" + bytes([len(CLIENT)]) + CLIENT.encode()
    return lambda: token_id(ask(request, timeout=LIMIT))


def token_id(response):
    return fields(fields(response)[TOKEN])[ID].decode()


def fields(message):
    """The length-delimited fields of a protobuf message, by number."""
    found, at = {}, 0
    while at < len(message):
        key, at = varint(message, at)
        value, at = varint(message, at)
        if key & 7 == 2:
            found[key >> 3] = message[at : at + value]
            at += value
    return found


def varint(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def shell():
    words = ["bearerd", "token", CLIENT, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=2 * LIMIT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)["id"]


def main():
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    # A channel of its own each, instead of one connection that all share.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel("unix:///run/bearerd/bearerd.sock", options) for _ in range(CHANNELS)]
    callers = [("channel", caller(channel)) for channel in channels for _ in range(THREADS_EACH)]
    callers += [("shell", shell)] * SHELLS
    interval = len(callers) / RATE
    threads = [threading.Thread(target=every, args=(interval, *one)) for one in callers]
    began = time.monotonic()
    for thread in threads:
        thread.start()
        STOP.wait(interval / len(threads))
    while not STOP.wait(0.1):
        REPORT.with_suffix(".calls").write_text(str(sum(CALLS.values())))
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    report = {"calls": CALLS, "failed": FAILED, "ids": sorted(IDS), "slowest": SLOWEST, "seconds": seconds}
    REPORT.write_text(json.dumps(report))


main()
