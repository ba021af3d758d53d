"""Which items are held out."""

from pathlib import Path

import pytest
from refusals import refuses

from vaekit.datasets.choose import split_held_out
from vaekit.datasets.dataset import Line, RecordFormat, Splits
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import NoTrainingData


def splits_of(path: Path, lines: list[str]) -> Splits:
    path.write_text("\n".join(lines))
    return open_dataset(path, RecordFormat("lines", (Line,)), SkipLog())


@pytest.mark.parametrize(("wanted", "count"), [(None, 5), (0, 0), (7, 7), (0.25, 25)])
def test_some_are_held_out_and_the_others_are_trained_on(tmp_path: Path, wanted: float | None, count: int) -> None:
    kept, apart = split_held_out(splits_of(tmp_path / "t.txt", [str(i) for i in range(100)]), wanted, "lines")
    assert len(apart) == count and sorted([*kept, *apart]) == list(range(100))


def test_a_name_s_chance_does_not_depend_on_the_others(tmp_path: Path) -> None:
    few = splits_of(tmp_path / "t.txt", [str(i) for i in range(50)])
    _, first = split_held_out(few, 10, "lines")
    many = splits_of(tmp_path / "t.txt", [str(i) for i in range(80)])
    _, second = split_held_out(many, 10, "lines")
    assert {i for i in second if i < 50} <= set(first)


def test_holding_out_everything_is_refused(tmp_path: Path) -> None:
    with refuses(NoTrainingData, "3"):
        split_held_out(splits_of(tmp_path / "t.txt", ["a", "b", "c"]), 3, "lines")
