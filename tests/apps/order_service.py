"""A small HTTP service to be profiled: it prices orders, and says what it may and may not do.

    python order_service.py

It listens on a free port of the loopback interface and prints that. /price?items=N computes, /facts describes the sandbox,
/profile is the profile so far, as a file.
"""

import ctypes
import errno
import http.server
import json
import os
import platform
import signal
import sys
import threading
import time
import urllib.parse


def price(items):
    end = time.thread_time() + 0.002 * items
    total = 0
    while time.thread_time() < end:
        total += sum(number * number for number in range(100))
    return total


def refusal(number):
    """The error of a system call with harmless arguments, by name."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0)
    return errno.errorcode.get(ctypes.get_errno(), "none")


def facts():
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from restricted_pod import DENIED

    with open("/proc/self/status") as status:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in status)
    try:
        os.close(os.open("/written", os.O_CREAT | os.O_WRONLY))
        root = "writable"
    except OSError as error:
        root = errno.errorcode[error.errno]
    return {
        "user": os.getuid(),
        "pid": os.getpid(),
        "no_new_privileges": fields["NoNewPrivs"],
        "capabilities": [fields["CapEff"], fields["CapPrm"], fields["CapBnd"]],
        "seccomp": fields["Seccomp"],
        "root": root,
        "refused": {name: refusal(number) for name, number in DENIED[platform.machine()].items()},
    }


class Orders(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        address = urllib.parse.urlparse(self.path)
        if address.path == "/price":
            items = int(urllib.parse.parse_qs(address.query)["items"][0])
            body = json.dumps({"total": price(items)})
        elif address.path == "/facts":
            body = json.dumps(facts())
        else:
            import spprof

            body = json.dumps(spprof.snapshot().to_speedscope())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Orders)
    # Process 1 of a container has no default actions: a service that means to end on SIGTERM says so.
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=server.shutdown).start())
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
