"""The steps of a cache are read as they were written; others are refused."""

import json
from pathlib import Path

import pytest
from made_cache import description

from vaekit.errors import BadCache
from vaekit.latent_cache.steps import CODING, CodingSteps, read_steps, write_steps

STEPS = CodingSteps((0.1, 0.25, 3e-5, 7.0), 0.5, 12, 0.08)


def test_steps_come_back(tmp_path: Path) -> None:
    assert read_steps(tmp_path, description("coded")) is None
    write_steps(tmp_path, STEPS)
    assert read_steps(tmp_path, description("coded")) == STEPS


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"mean": []},
        {"mean": [0.1]},
        {"mean": [0.1, 0.1, 0.1, 0]},
        {"mean": [0.1, 0.1, 0.1, -1]},
        {"mean": [0.1, 0.1, 0.1, 1e99]},
        {"mean": [0.1, 0.1, 0.1, "x"]},
        {"mean": 3},
        {"log_variance": None},
        {"items": 1.5},
        {"loss": "much"},
    ],
)
def test_odd_steps_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / CODING).write_text(json.dumps(STEPS.as_json() | change))
    with pytest.raises(BadCache):
        read_steps(tmp_path, description("coded"))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"version": NaN}'])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CODING).write_bytes(content)
    with pytest.raises(BadCache):
        read_steps(tmp_path, description("coded"))
