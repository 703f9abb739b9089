"""The targets: OpenWrt's names of the processors, with the Rust and zig targets that build for them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One binary. `serves` are OpenWrt's package architectures on which it runs, the first one names it."""

    serves: tuple[str, ...]
    rust: str
    zig: str
    qemu: str
    mips: bool = False

    @property
    def name(self) -> str:
        return self.serves[0]


# Soft float on all MIPS and ARM targets: the programs compute no floats, and bcm53xx and others have no FPU.
TARGETS = (
    # MT7621, MT7628
    Target(
        ("mipsel_24kc", "mipsel_24kc_24kf", "mipsel_74kc"),
        "mipsel-unknown-linux-musl",
        "mipsel-linux-musleabi",
        "qemu-mipsel",
        mips=True,
    ),
    # ath79, big-endian
    Target(("mips_24kc",), "mips-unknown-linux-musl", "mips-linux-musleabi", "qemu-mips", mips=True),
    Target(
        (
            "arm_cortex-a7",
            "arm_cortex-a5_vfpv4",
            "arm_cortex-a7_neon-vfpv4",
            "arm_cortex-a7_vfpv4",
            "arm_cortex-a8_vfpv3",
            "arm_cortex-a9",
            "arm_cortex-a9_neon",
            "arm_cortex-a9_vfpv3-d16",
            "arm_cortex-a15_neon-vfpv4",
        ),
        "armv7-unknown-linux-musleabi",
        "arm-linux-musleabi -mcpu=generic+v7a+thumb2+soft_float-vfp2-vfp3-neon",
        "qemu-arm",
    ),
    # Raspberry Pi 1 and Zero
    Target(
        ("arm_arm1176jzf-s_vfp",),
        "arm-unknown-linux-musleabi",
        "arm-linux-musleabi -mcpu=generic+v6+strict_align",
        "qemu-arm",
    ),
    Target(
        ("aarch64_generic", "aarch64_cortex-a53", "aarch64_cortex-a72", "aarch64_cortex-a76"),
        "aarch64-unknown-linux-musl",
        "aarch64-linux-musl",
        "qemu-aarch64",
    ),
    Target(("x86_64",), "x86_64-unknown-linux-musl", "x86_64-linux-musl", "qemu-x86_64"),
)


def select(name: str) -> list[tuple[Target, tuple[str, ...]]]:
    """The targets asked for: all, or the one that serves the architecture `name`."""
    if not name:
        return [(target, target.serves) for target in TARGETS]
    for target in TARGETS:
        if name in target.serves:
            return [(target, (name,))]
    known = " ".join(arch for target in TARGETS for arch in target.serves)
    raise SystemExit(f"no target {name!r}; there are: {known}")
