"""`run_files`: results, failures, and what is left out once nothing can be written."""

from pathlib import Path
from typing import Any

import pytest

from vaekit.domains.files import side_by_side_path
from vaekit.errors import BadItem, CannotWrite, CannotWriteHere
from vaekit.pipeline import Stages
from vaekit.tasks.batch import output_paths, run_files

PATHS = [Path(f"{number}.png") for number in range(20)]


def stages(write: Any, read: Any = lambda path: path.stem) -> Stages[Path, str, str, str]:
    return Stages(read, lambda _, value: value * 2, write)


def test_results_keep_the_order_and_progress_counts_them() -> None:
    calls: list[tuple[int, int]] = []
    batch = run_files(PATHS, stages(lambda _, value: value), lambda done, total: calls.append((done, total)))
    assert batch.results == [path.stem * 2 for path in PATHS]
    assert batch.complete
    assert calls == [(number, len(PATHS)) for number in range(1, len(PATHS) + 1)]


def test_one_bad_item_does_not_stop_the_others() -> None:
    def read(path: Path) -> str:
        if path.stem == "3":
            raise BadItem("It is damaged.", "", "")
        return path.stem

    batch = run_files(PATHS, stages(lambda _, value: value, read))
    assert len(batch.results) == len(PATHS) - 1
    assert [failure.path for failure in batch.failures] == ["3.png"]
    assert not batch.complete and not batch.not_started


def test_nothing_is_started_once_the_folder_refuses() -> None:
    written: list[Path] = []

    def write(path: Path, value: str) -> str:
        if len(written) == 3:
            raise CannotWriteHere("The disk is full.", "", "")
        written.append(path)
        return value

    batch = run_files(PATHS, Stages(str, lambda _, value: value, write))
    assert len(batch.results) + len(batch.failures) + len(batch.not_started) == len(PATHS)
    assert len(batch.failures) == 1
    assert all("The disk is full." in failure.error for failure in (*batch.failures, *batch.not_started))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_other_errors_and_interrupts_end_the_run(error: type[BaseException]) -> None:
    written: list[Path] = []

    def run(path: Path, value: str) -> str:
        if path.stem == "5":
            raise error
        return value

    with pytest.raises(error):
        run_files(PATHS, Stages(str, run, lambda path, _: written.append(path)))
    assert set(written) <= set(PATHS[:5])


def test_names_follow_the_inputs() -> None:
    inputs = [Path("a/photo.jpg"), Path("b/x.latent.safetensors")]
    assert output_paths(inputs, Path("out"), ".png") == {
        inputs[0]: Path("out/photo.png"),
        inputs[1]: Path("out/x.png"),
    }


def test_inputs_of_one_name_get_different_outputs() -> None:
    inputs = [Path("a/same.png"), Path("b/same.png"), Path("b/same.jpg"), Path("a/same.png")]
    outputs = output_paths(inputs, Path("out"), ".png")
    assert len(set(outputs.values())) == len(outputs) == 3
    assert outputs[Path("b/same.jpg")] == Path("out/same.jpg.png")


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite):
        output_paths([tmp_path / "photo.png"], tmp_path, ".png")


def test_the_file_beside_an_output_is_free_as_well(tmp_path: Path) -> None:
    inputs = [tmp_path / "in" / name for name in ("p.png", "p.side-by-side.png")]
    outputs = output_paths(inputs, tmp_path, ".png", side_by_side=True)
    written = [path for output in outputs.values() for path in (output, side_by_side_path(output))]
    assert len(set(written)) == 4
    with pytest.raises(CannotWrite):
        output_paths([tmp_path / "p.side-by-side.png", tmp_path / "in" / "p.png"], tmp_path, ".png", side_by_side=True)


def test_a_loop_of_links_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert output_paths([tmp_path / "a.png"], tmp_path / "loop", ".png")
