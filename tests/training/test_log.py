"""The log of a run: one JSON object on each line, whatever the numbers are."""

import json
import math
from pathlib import Path

import pytest

from vaekit.errors import CannotWrite, CannotWriteHere
from vaekit.training.log import LOG, Log, LogEvent, events_until


def test_non_finite_numbers_are_strict_json(tmp_path: Path) -> None:
    numbers = {"loss": math.nan, "gradient": math.inf, "codes": [0.5, -math.inf], "rate": 1e-4}
    with Log(tmp_path, 0, lambda _: None) as log:
        log.write(LogEvent(10, 1.0, numbers, False, 100))

    def refuse(word: str) -> None:
        raise AssertionError(word)

    (line,) = (tmp_path / LOG).read_text("utf-8").splitlines()
    found = json.loads(line, parse_constant=refuse)
    assert (found["loss"], found["gradient"], found["rate"]) == ("NaN", "Infinity", 1e-4)
    assert found["codes"] == [0.5, "-Infinity"]


def test_a_run_continues_the_log_of_the_first_edition(tmp_path: Path) -> None:
    """It has the words NaN and Infinity, which Python's own parser takes."""
    (tmp_path / LOG).write_text('{"samples": 5, "seconds": 1.0, "loss": NaN}\n{"samples": 50, "loss": Infinity}\n')
    with Log(tmp_path, 10, lambda _: None):
        pass
    assert (tmp_path / LOG).read_text() == '{"samples": 5, "seconds": 1.0, "loss": NaN}\n'


@pytest.mark.parametrize("line", ["[" * 100_000, '{"samples": Infinity}', '{"samples": [1]}', "\x00", "9" * 5000])
def test_damaged_lines_are_of_no_event(line: str) -> None:
    assert not events_until(line, 10**9)
    assert events_until('{"samples": 3}', 3)


def test_a_full_disk_is_a_user_error(tmp_path: Path) -> None:
    with Log(tmp_path, 0, lambda _: None) as log:
        log.file.close()
        log.file = open("/dev/full", "a", encoding="utf-8")  # noqa: SIM115 (closed by the log)
        with pytest.raises(CannotWriteHere):
            log.write(LogEvent(10, 1.0, {"loss": 1.0}, False, 100))


def test_a_folder_in_place_of_the_log_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / LOG).mkdir()
    with pytest.raises(CannotWrite):
        Log(tmp_path, 0, lambda _: None)
