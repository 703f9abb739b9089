"""The relay as routers run it: built for their processors, under an emulator.

For each processor the integration suite, running here, drives the cross-built daemon. On big-endian MIPS the unit tests of the
wire formats, of ubus and of the configuration run as well, as byte order is what they could get wrong. `make test-cross` calls
it; names of targets as arguments choose among them.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "openwrt/build"))

import cross
import fetch
import toolchain
from targets import TARGETS, Target

DEFAULT = ["mipsel_24kc", "mips_24kc", "arm_cortex-a7", "aarch64_generic"]
UNITS_ON = "mips_24kc"
FETCH_ON = "mipsel_24kc"
# An emulator is ten times as slow, and two of its daemons share a core with the tests.
PATIENCE = "10"
# The tests of the suite that are left out here, and why. Each of them runs natively in `make test`.
LEFT_OUT = {
    "no daemon in it: the sources' own rules, vectors against the library": ["house::", "vectors::"],
    "the emulator has no seccomp filters": ["privileges::every_thread_has_the_seccomp_filter_and_no_new_privileges"],
    "the emulator has a thread of its own, which keeps the identity that the process began with": [
        "privileges::the_daemon_s_user_has_no_rights_of_root"
    ],
    "the emulator passes neither SO_BUF_LOCK nor TCP_INFO on": [
        "bugs::old_window_taken_for_room",
        "backpressure::an_upload_that_the_dc_does_not_read_waits_in_the_client_s_socket",
    ],
}
# It compares times of some milliseconds, for which emulated MIPS is too slow beside other tests. The ARM daemons run it.
LEFT_OUT_ON_MIPS = {"emulated MIPS is too slow to compare milliseconds": ["dialing::a_bad_address_delays_only_the_first_session"]}
CARGO = os.environ.get("CARGO", "cargo")


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def executables(command: list[str], environment: dict[str, str]) -> list[Path]:
    """The test programs that a build makes."""
    done = subprocess.run(
        [*command, "--no-run", "--locked", "--message-format=json-render-diagnostics"],
        check=True,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    messages = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    made = (message for message in messages if message.get("reason") == "compiler-artifact" and message["profile"]["test"])
    return [Path(message["executable"]) for message in made if message["executable"]]


def suite() -> Path:
    [program] = executables([CARGO, "test", "--package", "mtrelay", "--test", "it"], dict(os.environ))
    return program


def drive(target: Target, binary: Path, program: Path) -> None:
    """The integration suite against the daemon of this processor."""
    say(f"the integration suite, with the daemon of {target.name} under {target.qemu}")
    environment = {
        **os.environ,
        "MTRELAY_BIN": str(binary),
        "MTRELAY_RUNNER": toolchain.require_qemu(target.qemu),
        "MTRELAY_TEST_PATIENCE": PATIENCE,
    }
    left_out = LEFT_OUT | (LEFT_OUT_ON_MIPS if target.mips else {})
    for reason, names in left_out.items():
        print(f"left out: {', '.join(names)}: {reason}", flush=True)
    skips = [word for names in left_out.values() for name in names for word in ("--skip", name)]
    subprocess.run([program, *skips, "--test-threads=4"], check=True, cwd=ROOT, env=environment)


def units(target: Target) -> None:
    """The unit tests on the processor itself."""
    say(f"the unit tests on {target.name} itself")
    zig = toolchain.require_zig()
    environment = cross.environment([target], zig)
    # A test tells what failed, so here panics have their messages.
    name = target.rust.upper().replace("-", "_")
    flags = [flag for flag in cross.rust_flags(target) if flag != "-Cpanic=immediate-abort"]
    environment[f"CARGO_TARGET_{name}_RUSTFLAGS"] = " ".join(flags)
    environment |= {"CARGO_PROFILE_DEV_PANIC": "abort", "CARGO_PROFILE_TEST_DEBUG": "false", "CARGO_PROFILE_DEV_DEBUG": "false"}
    command = [str(toolchain.CARGO), "test", "-Zpanic-abort-tests", *cross.BUILD_STD, "--target", target.rust, "--lib"]
    qemu = toolchain.require_qemu(target.qemu)
    # The test harness takes its unstable options from a compiler that takes them.
    running = {**os.environ, "RUST_TEST_THREADS": "2", "RUSTC_BOOTSTRAP": "1"}
    for package, filters in (("mtrelay-wire", []), ("mtrelay-core", ["config", "map", "dc", "calendar"]), ("mtrelay", ["ubus", "config", "access", "stats", "metrics"])):
        for program in executables([*command, "--package", package], environment):
            # Where a panic ends the program, each test would be a process of its own, which an emulator cannot start.
            inside = ["-Zunstable-options", "--force-run-in-process"]
            subprocess.run([qemu, program, *inside, *filters], check=True, cwd=ROOT, env=running)


def main() -> None:
    names = sys.argv[1:] or DEFAULT
    chosen = [next(target for target in TARGETS if name in target.serves) for name in names]
    started = time.monotonic()
    binaries = cross.install(chosen)
    program = suite()
    for target in chosen:
        drive(target, binaries[target.name], program)
    for target in chosen:
        if target.name == UNITS_ON:
            units(target)
        if target.name == FETCH_ON:
            say(f"mtfetch for {target.name}, under {target.qemu}")
            fetch.check(target)
    say(f"the routers' programs pass, after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
