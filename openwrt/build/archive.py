"""Reproducible tar archives: order, owners, times and compression are fixed."""

import io
import tarfile

import deflate

# 1980, the oldest time that every archive format can represent.
EPOCH = 315_532_800


def parents(path: str) -> list[str]:
    """The parent folders of a path, the topmost first."""
    parts = path.strip("/").split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def tar_gz(members: list[tuple[str, bytes, int]], with_folders: bool) -> bytes:
    """Members are (path, content, mode), their paths written as `./path`, owned by root."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tar:

        def add(path: str, content: bytes | None, mode: int) -> None:
            info = tarfile.TarInfo(f"./{path}")
            info.mtime, info.mode = EPOCH, mode
            info.uname = info.gname = "root"
            if content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            tar.addfile(info, None if content is None else io.BytesIO(content))

        seen = set()
        if with_folders:
            add("", None, 0o755)
        for path, content, mode in members:
            for folder in parents(path) if with_folders else []:
                if folder not in seen:
                    seen.add(folder)
                    add(folder, None, 0o755)
            add(path.strip("/"), content, mode)
    return deflate.gzip(plain.getvalue())
