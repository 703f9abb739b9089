"""How much memory the idle daemon takes on a MIPS router: Debian's kernel for the Malta board in qemu-system, as qemu-user's own memory would
hide the daemon's.

`make memory` calls it. The machine has 64 MB, the kernel, a shell and the daemon, which runs for SECONDS after its start; then the
kernel says what the process has in memory. Kernel and shell are Debian's for mipsel, from the mirror that apt is set up with, kept
in the cache.
"""

import hashlib
import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "openwrt/build"))

import cross
import toolchain
from targets import TARGETS

TARGET = "mipsel_24kc"
# The last release of Debian with packages for mipsel.
SUITE = "bookworm"
RAM_MB = 64
SECONDS = 10
LIMIT_KIB = 1200
CONFIG = """config relay 'main'
config user
\toption name 'owner'
\toption secret '00112233445566778899aabbccddeeff'
"""
# What the machine does: the figures stand between marks, as the kernel talks on the same line.
INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox ip link set lo up
/mtrelay run -c /mtrelay.uci >/log 2>&1 &
pid=$!
tries=0
until /bin/busybox grep -q 'is up' /log || [ $tries -gt 60 ]; do
    tries=$((tries + 1))
    /bin/busybox sleep 1
done
/bin/busybox sleep {SECONDS}
echo
echo BEGIN
/bin/busybox cat /log
/bin/busybox grep -E '^(VmHWM|VmRSS|RssAnon|RssFile|RssShmem|VmData|Threads)' /proc/$pid/status
/bin/busybox awk '/^[0-9a-f]+-/ {{ name = $2 " " ($6 ? $6 : "anonymous") }} /^Rss:/ && $2 {{ print "map " name " " $2 }}' /proc/$pid/smaps
echo END
/bin/busybox poweroff -f
"""


def mirror() -> str:
    found = toolchain.output("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Component: main")
    return found.splitlines()[0].rstrip("/")


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=300) as answer:
        return answer.read()


def packages() -> dict[str, dict[str, str]]:
    """Debian's list for mipsel: each package's fields."""
    text = lzma.decompress(get(f"{mirror()}/dists/{SUITE}/main/binary-mipsel/Packages.xz")).decode()
    entries = (dict(re.findall(r"^([\w-]+): (.*)$", entry, re.MULTILINE)) for entry in text.split("\n\n"))
    return {entry["Package"]: entry for entry in entries if entry}


def unpacked(name: str, entry: dict[str, str]) -> Path:
    """The package's files, in the cache."""
    folder = toolchain.cache() / "malta" / f"{name}_{entry['Version'].replace(':', '.')}"
    if not folder.exists():
        toolchain.say(f"getting {name} {entry['Version']} for mipsel")
        content = get(f"{mirror()}/{entry['Filename']}")
        if hashlib.sha256(content).hexdigest() != entry["SHA256"]:
            raise SystemExit(f"memory: {name} is not what the list of packages says")
        making = folder.with_name(f"{folder.name}.{os.getpid()}")
        making.mkdir(parents=True)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            subprocess.run(["dpkg-deb", "-x", file.name, making], check=True)
        making.rename(folder)
    return folder


def machine() -> tuple[Path, Path]:
    """The kernel and the shell."""
    known = packages()
    wanted = known["linux-image-4kc-malta"]["Depends"].split()[0]
    kernel = next((unpacked(wanted, known[wanted]) / "boot").glob("vmlinuz-*"))
    return kernel, unpacked("busybox-static", known["busybox-static"]) / "bin/busybox"


def archive(files: dict[str, tuple[int, bytes]]) -> bytes:
    """A cpio archive (newc), the file system that the kernel begins with."""
    out = io.BytesIO()
    for number, (name, (mode, content)) in enumerate({**files, "TRAILER!!!": (0, b"")}.items(), 1):
        path = name.encode() + b"\0"
        # A node of /dev has its numbers where a file has none.
        major, minor = (5, 1) if name == "dev/console" else (0, 0)
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(path), 0]
        out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + path)
        out.write(bytes(-out.tell() % 4) + content)
        out.write(bytes(-out.tell() % 4))
    return out.getvalue()


def run(binary: Path, kernel: Path, shell: Path) -> str:
    """What the machine says between its marks."""
    qemu = shutil.which("qemu-system-mipsel")
    if not qemu:
        toolchain.apt_install(["qemu-system-mips"])
        qemu = "qemu-system-mipsel"
    folder, program = 0o040755, 0o100755
    files = {name: (folder, b"") for name in ("bin", "dev", "proc", "var", "var/run", "tmp")}
    files |= {
        "dev/console": (0o020600, b""),
        "bin/busybox": (program, shell.read_bytes()),
        "mtrelay": (program, binary.read_bytes()),
        "mtrelay.uci": (0o100600, CONFIG.encode()),
        "init": (program, INIT.encode()),
    }
    with tempfile.TemporaryDirectory() as scratch:
        initrd = Path(scratch) / "initrd"
        initrd.write_bytes(archive(files))
        command = [qemu, "-M", "malta", "-cpu", "24Kc", "-m", str(RAM_MB), "-nographic", "-vga", "none", "-monitor", "none", "-no-reboot", "-nic", "none"]
        command += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", "console=ttyS0 quiet rdinit=/init panic=-1"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=600)
    found = re.search(r"^BEGIN\r?$(.*)^END\r?$", done.stdout, re.MULTILINE | re.DOTALL)
    if not found:
        raise SystemExit(f"memory: the machine said nothing of use:\n{done.stdout[-3000:]}{done.stderr}")
    return found[1].replace("\r", "").strip()


def main() -> None:
    target = next(target for target in TARGETS if target.name == TARGET)
    said = run(cross.install([target])[TARGET], *machine())
    print(said)
    resident = int(re.search(r"^VmRSS:\s+(\d+) kB$", said, re.MULTILINE)[1])
    print(f"idle: {resident:,} KiB in memory; the limit is {LIMIT_KIB:,}")
    if resident > LIMIT_KIB:
        sys.exit(1)


if __name__ == "__main__":
    main()
