"""How many instructions a relayed byte costs on MIPS and ARM: the shipped program under qemu-user, whose plugin counts them.

`make instructions` calls it. A download of 4 MiB and one of 20 MiB differ by 16 MiB and by nothing else; without fast mode every byte passes
two ciphers.
"""

import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "openwrt/build"))

import cross
import toolchain
from targets import TARGETS

# For one cipher, where there is a limit.
LIMITS = {"mipsel_24kc": 120, "arm_cortex-a7": None}
CIPHERS = 2
SMALL, LARGE = 4 << 20, 20 << 20
SECRET = bytes(range(16))
CARGO = os.environ.get("CARGO", "cargo")


def qemu(runner: str) -> str:
    """The emulator that loads plugins, which the static one does not."""
    if not shutil.which(runner):
        toolchain.apt_install(["qemu-user"])
    return runner


def plugin(folder: Path) -> None:
    made = folder / "count.so"
    source = Path(__file__).with_name("count.c")
    # What it calls is in the emulator.
    flags = ["-shared", "-fPIC", "-O2", "-Wl,--allow-shlib-undefined"]
    subprocess.run([toolchain.require_zig(), "cc", *flags, "-o", made, source], check=True)


def opening() -> bytes:
    """What a client sends first: keys, and under them the mode (dd) and the data centre (2)."""
    while True:
        head = bytearray(os.urandom(64))
        if head[0] != 0xEF and head[:4] not in (b"HEAD", b"POST", b"GET ", b"OPTI", b"\xdd" * 4, b"\xee" * 4) and any(head[4:8]):
            break
    head[56:62] = b"\xdd" * 4 + struct.pack("<h", 2)
    key = hashlib.sha256(bytes(head[8:40]) + SECRET).digest()
    command = ["openssl", "enc", "-aes-256-ctr", "-K", key.hex(), "-iv", bytes(head[40:56]).hex()]
    sealed = subprocess.run(command, input=bytes(head), check=True, capture_output=True).stdout
    return bytes(head[:56]) + sealed[56:]


def executed(command: list[str], folder: Path, fast: bool, size: int) -> int:
    """The instructions of one daemon's life, in which one client downloads `size` bytes."""
    script = [str(folder / "fakedc"), "--listen", "127.0.0.1:0", "--script", f"source={size}"]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as centre:
        try:
            address = centre.stdout.readline().split()[-1]
            config = folder / "config"
            config.write_text(
                "config relay 'main'\n\tlist listen '127.0.0.1:0'\n\toption stats_listen ''\n\toption modes 'dd'\n"
                f"\toption fast_mode '{int(fast)}'\n\toption drain_timeout '0'\n"
                f"config user\n\toption name 'a'\n\toption secret '{SECRET.hex()}'\n"
                f"config dc\n\toption id '2'\n\tlist address '{address}'\n"
            )
            with subprocess.Popen([*command, "run", "-c", config], stderr=subprocess.PIPE, text=True) as daemon:
                return life(daemon, size)
        finally:
            centre.kill()


def life(daemon: subprocess.Popen, size: int) -> int:
    try:
        place = None
        for line in daemon.stderr:
            if found := re.search(r"listening on ([\d.]+):(\d+)", line):
                place = found[1], int(found[2])
            if "is up" in line:
                break
        with socket.create_connection(place, timeout=300) as client:
            client.sendall(opening())
            got = 0
            while piece := client.recv(1 << 18):
                got += len(piece)
        if got != size:
            raise SystemExit(f"instructions: {got} bytes came, not {size}")
        for line in daemon.stderr:
            if "close: " in line:
                break
        daemon.terminate()
        return int(re.search(r"^executed (\d+)$", daemon.stderr.read(), re.MULTILINE)[1])
    finally:
        daemon.kill()


def count(target, binary: Path, folder: Path) -> float:
    """The instructions of one cipher, with all around it."""
    command = [qemu(target.qemu), "-plugin", str(folder / "count.so"), str(binary)]
    for fast in (True, False):
        one, other = (executed(command, folder, fast, size) for size in (SMALL, LARGE))
        a_byte = (other - one) / (LARGE - SMALL)
        print(f"{target.name}, {'fast mode' if fast else 'ciphers'}: {a_byte:.2f} instructions a byte downloaded", flush=True)
    return a_byte / CIPHERS


def main() -> None:
    targets = [target for target in TARGETS if target.name in LIMITS]
    binaries = cross.install(targets)
    subprocess.run([CARGO, "build", "--locked", "--package", "mtrelay-test-support", "--bin", "fakedc"], check=True, cwd=ROOT)
    built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "fakedc"
    too_many = False
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copy2(built, folder / "fakedc")
        plugin(folder)
        for target in targets:
            cipher, limit = count(target, binaries[target.name], folder), LIMITS[target.name]
            bound = f"the limit is {limit}" if limit else "no limit"
            print(f"{target.name}: one cipher: {cipher:.1f} instructions a byte with all around it; {bound}", flush=True)
            too_many |= limit is not None and cipher > limit
    if too_many:
        sys.exit(1)


if __name__ == "__main__":
    main()
