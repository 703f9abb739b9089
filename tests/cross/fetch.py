"""mtfetch as a router runs it: its size on the smallest of them, and that it starts, serves and stops under an emulator."""

import re
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

import cross
import toolchain
from targets import Target

# What flash has room for beside everything else.
MOST_BYTES = 1_600_000
PATIENCE_SECONDS = 120
CONFIG = """config mtfetch 'main'
\toption api_id '12345'
\toption api_hash '0123456789abcdef0123456789abcdef'
\toption account '{folder}/account'
\tlist listen '127.0.0.1:0'
"""


def check(target: Target) -> None:
    binary = cross.install([target], "mtfetch")[target.name]
    size = binary.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"mtfetch for {target.name} has {size:,} bytes, more than {MOST_BYTES:,}")
    runner = toolchain.require_qemu(target.qemu)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mtfetch"
        config.write_text(CONFIG.format(folder=folder))
        said = subprocess.run([runner, binary, "check", "-c", config], check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert said.stdout.endswith(": good\n"), said
        serves([runner, str(binary), "serve", "-c", str(config)])


def serves(command: list[str]) -> None:
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"listening on (http://[0-9.:]+)/", line):
                break
        else:
            raise SystemExit(f"mtfetch does not start: {lines}")
        with urllib.request.urlopen(f"{found[1]}/", timeout=PATIENCE_SECONDS) as answer:
            assert answer.read().startswith(b"mtfetch "), "its page"
        try:
            urllib.request.urlopen(f"{found[1]}/t.me/news/1", timeout=PATIENCE_SECONDS)
            raise SystemExit("there is no account, and yet a medium")
        except urllib.error.HTTPError as error:
            words = error.read().decode()
            assert error.code == 503 and "not logged in" in words, words
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 143, process.returncode
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        watchdog.cancel()
