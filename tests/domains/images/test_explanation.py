from pathlib import Path

import torch
from PIL import Image

from vaekit.distributions import Normal
from vaekit.domains.attribution import Attribution
from vaekit.domains.images.explanation import explain_image, file_in
from vaekit.domains.images.preparation import Preparation


def attribution(nats: torch.Tensor, source: Path | None = None) -> Attribution:
    x = torch.zeros(1, 1, *nats.shape[2:])
    return Attribution(
        "test/dent/7.png", x, Normal(x - 1), nats, lambda count: x.expand(count, -1, -1, -1), source=source
    )


def test_regions_are_where_the_contributions_are(tmp_path: Path) -> None:
    nats = torch.zeros(1, 1, 64, 64)
    nats[0, 0, 10, 20], nats[0, 0, 50, 40] = 30.0, 50.0
    found = explain_image(attribution(nats), Preparation(64, 1), tmp_path)
    assert found.nats == 80
    assert [reason.nats for reason in found.reasons] == [50, 30]
    assert found.reasons[0].where == "x 36-44, y 46-54"
    assert [found.reasons[0].value, found.reasons[0].expected] == ["128", "0"]
    assert list(found.files) == [tmp_path / "test" / "dent" / "7.heat.png"]
    assert found.files[0].is_file()


def test_places_are_those_of_the_whole_original(tmp_path: Path) -> None:
    source = tmp_path / "7.png"
    Image.new("L", (128, 64), 9).save(source)
    nats = torch.zeros(1, 1, 32, 32)
    nats[0, 0, 16, 16] = 5.0
    found = explain_image(attribution(nats, source), Preparation(32, 1, crop="whole"), None)
    assert not found.files
    assert found.reasons[0].where == "x 56-75, y 28-37"
    assert found.reasons[0].value == "9"


def test_an_image_without_improbable_parts_has_no_reasons() -> None:
    assert not explain_image(attribution(-torch.ones(1, 1, 8, 8)), Preparation(8, 1), None).reasons


def test_files_stay_in_their_folder(tmp_path: Path) -> None:
    assert file_in(tmp_path, "../a/./b.png") == tmp_path / "a" / "b.heat.png"
    assert file_in(tmp_path, "") == tmp_path / "item.heat.png"
    assert file_in(tmp_path, "/etc/x\ny") == tmp_path / "etc" / "x_y.heat.png"
