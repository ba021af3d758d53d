"""`tasks.doctor`: findings, images and the catalog entry."""

import shutil
from pathlib import Path

import pytest

from vaekit.doctor.examine import CHECKS
from vaekit.errors import NotFound
from vaekit.tasks.doctor import doctor
from vaekit.tasks.options import ModelOptions


@pytest.mark.usefixtures("small_doctor_images")
def test_images_are_limited_and_failures_are_listed(images: Path) -> None:
    for number in range(2, 5):
        shutil.copy(images / "0.png", images / f"{number}.png")
    calls: list[tuple[int, int]] = []
    diagnosis = doctor(ModelOptions(), [images], limit=6, progress=lambda done, total: calls.append((done, total)))
    assert diagnosis.status == "ok"
    assert diagnosis.entry is not None and diagnosis.entry.name == "builtin"
    assert (diagnosis.images, [Path(one.path).name for one in diagnosis.failures]) == (5, ["broken.png"])
    assert tuple(finding.name for finding in diagnosis.findings) == CHECKS
    assert calls[0] == (0, len(CHECKS)) and calls[-1] == (len(CHECKS), len(CHECKS))


def test_missing_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        doctor(ModelOptions(), [tmp_path / "none"])
