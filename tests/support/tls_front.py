"""A real TLS site for the tests: OpenSSL behind Python, one thread a visitor.

usage: tls_front.py CERT KEY PATIENCE

It prints its port. A visitor has PATIENCE seconds for the handshake, and as long for a request.
"""

import socket
import ssl
import sys
import threading

PAGE = b"<html>front.example</html>\n" * 100


def serve(raw: socket.socket, context: ssl.SSLContext, patience: float) -> None:
    raw.settimeout(patience)
    try:
        with context.wrap_socket(raw, server_side=True) as visitor:
            request = visitor.recv(65536)
            if request.startswith(b"GET "):
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(PAGE)
                visitor.sendall(head + PAGE)
            else:
                visitor.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    except OSError:
        pass
    finally:
        raw.close()


def main() -> None:
    cert, key, patience = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            raw, _ = listener.accept()
            threading.Thread(target=serve, args=(raw, context, float(patience)), daemon=True).start()


main()
