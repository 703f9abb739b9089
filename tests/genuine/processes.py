"""The two programs under test, as processes: the relay with its UCI file, and the fake data centre it is pointed at.

Their paths come from the environment (MTRELAY_BIN, FAKEDC_BIN). Ports are the system's choice, and every wait is for a line that
a program writes.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import urllib.request
from pathlib import Path

LINE_SECONDS = 30


def split_address(text):
    """`[::1]:80` as ("::1", 80)."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


class Lines:
    """What a program writes, line by line, for whoever waits for one of them."""

    def __init__(self, stream, name):
        self.name = name
        self.seen = []
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.read, args=(stream,), daemon=True)
        self.thread.start()

    def read(self, stream):
        with stream:
            for line in stream:
                with self.changed:
                    self.seen.append(line.rstrip("\n"))
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def find(self, pattern, count=1, start=0):
        """The first `count` matches from line `start` on; waits for them."""

        def matches():
            return [m for line in self.seen[start:] if (m := re.search(pattern, line))]

        with self.changed:
            self.changed.wait_for(lambda: len(matches()) >= count or self.ended, LINE_SECONDS)
            if len(found := matches()) >= count:
                return found[:count]
            said = "\n  ".join(self.seen) or "(nothing)"
        raise AssertionError(f"{self.name} never wrote {count} × {pattern!r}. It wrote:\n  {said}")

    def mark(self):
        with self.changed:
            return len(self.seen)


class FakeDc:
    def __init__(self):
        self.process = subprocess.Popen(
            [os.environ["FAKEDC_BIN"], "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--script", "respq"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines = Lines(self.process.stdout, "fakedc")
        self.ipv4, self.ipv6 = (m[1] for m in self.lines.find(r"^listening (\S+)", count=2))

    def connections(self, count, start=0):
        """(dc, tag) of the first `count` connections since line `start`, sorted."""
        found = self.lines.find(r"^connection dc=(-?\d+) tag=([0-9a-f]{8})$", count=count, start=start)
        return sorted((int(m[1]), m[2]) for m in found)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(LINE_SECONDS)


class Relay:
    def __init__(self, config):
        self.directory = tempfile.TemporaryDirectory(prefix="mtrelay-genuine-")
        path = Path(self.directory.name) / "mtrelay"
        path.write_text(config)
        self.process = subprocess.Popen(
            [os.environ["MTRELAY_BIN"], "run", "-c", str(path)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = Lines(self.process.stderr, "mtrelay")
        self.listeners = [
            split_address(m[1]) for m in self.lines.find(r"listening on (\S+:\d+)$", count=config.count("list listen"))
        ]
        self.statistics = self.lines.find(r"statistics on (http://\S+)$")[0][1].rstrip("/")

    def status(self):
        with urllib.request.urlopen(f"{self.statistics}/status", timeout=LINE_SECONDS) as answer:
            return json.load(answer)

    def close_lines(self, mark, count=1):
        """The next `count` close lines since `mark`, each as a dict of its fields."""
        found = self.lines.find(r"\bclose: (user=.*)$", count=count, start=mark)
        return [dict(word.split("=", 1) for word in m[1].split()) for m in found]

    def stop(self):
        """Ends it as a service manager would. Returns (exit status, all that it logged)."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(LINE_SECONDS)
        self.lines.thread.join(LINE_SECONDS)
        self.directory.cleanup()
        return status, self.lines.seen
