"""Relays TCP on the loopback to a Unix socket, for a while: h2spec speaks only TCP.

relay.py SOCKET SECONDS prints the port that it listens on, and ends after SECONDS.
"""

import os
import socket
import sys
import threading


def pump(source, sink):
    """Carries one direction until its source ends.

    When the sink takes no more, what still comes is read and dropped: the other direction may hold a last word
    (GOAWAY), which closing a socket with unread bytes would take away.
    """
    taken = True
    try:
        while data := source.recv(65536):
            if taken:
                try:
                    sink.sendall(data)
                except OSError:
                    taken = False
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def carry(client, path):
    with client, socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(path)
        except OSError as error:
            print("cannot connect:", error, file=sys.stderr)
            return
        back = threading.Thread(target=pump, args=(server, client), daemon=True)
        back.start()
        pump(client, server)
        back.join()


def main():
    path, seconds = sys.argv[1], float(sys.argv[2])
    end = threading.Timer(seconds, os._exit, [1])
    end.daemon = True
    end.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=carry, args=(client, path), daemon=True).start()


main()
