"""Work that writes a file for each shard, and keeps count of how often each was begun. Run as a script, it is the
driver of a run on Ray: FOLDER [ADDRESS]."""

import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vaekit.atomic import atomic_file
from vaekit.errors import BadItem, VaekitError
from vaekit.shards import Work, claimed

SHARDS = 200
SECONDS = 0.1
"""What a shard takes."""


def begun(folder: Path) -> Counter[int]:
    """How often each shard was begun."""
    return Counter(int(path.name.split("-")[0]) for path in (folder / "begun").iterdir())


def done(folder: Path) -> set[int]:
    """The shards that are done."""
    return {int(path.name) for path in (folder / "done").iterdir() if path.name.isdigit()}


def running(folder: Path) -> dict[int, int]:
    """The shards that were begun and are not done, by the process that began them last."""
    finished = done(folder)
    found = [
        path.name.split("-") for path in sorted((folder / "begun").iterdir(), key=lambda path: path.stat().st_mtime)
    ]
    return {int(process): int(shard) for shard, process, _ in found if int(shard) not in finished}


def prepare(folder: Path) -> Path:
    for name in ("begun", "done"):
        (folder / name).mkdir(parents=True)
    return folder


def content(shard: int) -> bytes:
    return f"{shard}\n".encode() * (shard + 1)


def start(folder: Path) -> Callable[[int], int]:
    """A shard is claimed as in a cache, and not done if another process has done it meanwhile. Files named `fail-N` and
    `kill-N` in the folder let shard N fail, or end its process."""

    def process(shard: int) -> int:
        with claimed(folder / "claims" / str(shard)):
            return shard if shard in done(folder) else process_claimed(shard)

    def process_claimed(shard: int) -> int:
        (folder / "begun" / f"{shard}-{os.getpid()}-{uuid.uuid4().hex}").touch()
        if (folder / f"kill-{shard}").exists():
            os._exit(1)
        if (folder / f"fail-{shard}").exists():
            raise BadItem(f"Shard {shard} is damaged.", "", "Replace it.")
        time.sleep(SECONDS)
        with atomic_file(folder / "done" / str(shard)) as part:
            part.write_bytes(content(shard))
        return shard

    return process


def main(folder: Path, address: str | None) -> None:
    from vaekit.cluster.ray_runner import RayRunner

    finished = done(folder)
    left = [shard for shard in range(SHARDS) if shard not in finished]
    runner = RayRunner(address, 2, patience=120, say=lambda text: sys.stderr.write(f"{text}\n"))
    try:
        for shard, result in runner.run(Work(partial(start, folder)), left):
            assert shard == result
    except VaekitError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
