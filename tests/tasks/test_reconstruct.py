"""`tasks.reconstruct`, `encode` and `decode` without a command line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaekit.errors import NotFound
from vaekit.tasks.decode import decode
from vaekit.tasks.encode import encode
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import ModelOptions
from vaekit.tasks.reconstruct import explain, reconstruct


def test_reconstruct_writes_files_and_returns_records(
    model: OpenModel, images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    batch = reconstruct(model, [images], tmp_path / "out", side_by_side=True)
    assert [result.image.name for result in batch.results] == ["0.png", "1.png"]
    assert [Path(failure.path).name for failure in batch.failures] == ["broken.png"]
    for result in batch.results:
        assert result.latent_shape == (4, 14, 16)
        assert result.side_by_side is not None and result.side_by_side.is_file()
        x, y = (np.asarray(Image.open(path), dtype=np.float64) for path in (result.image, result.output))
        assert result.psnr == pytest.approx(10 * np.log10(255**2 / ((x - y) ** 2).mean()), abs=1e-3)
    assert capfd.readouterr() == ("", "")


def test_encode_and_decode_equal_reconstruct(model: OpenModel, images: Path, tmp_path: Path) -> None:
    encoded = encode(model, [images], tmp_path / "latents")
    assert [(one.width, one.height, one.latent_shape) for one in encoded.results] == [(63, 53, (4, 14, 16))] * 2
    assert len(encoded.failures) == 1
    decoded = decode(model, [tmp_path / "latents"], tmp_path / "decoded")
    assert decoded.complete and [one.caution for one in decoded.results] == [None, None]
    for result in reconstruct(model, [images], tmp_path / "direct").results:
        there, back = (Image.open(path) for path in (result.output, tmp_path / "decoded" / result.output.name))
        assert there.tobytes() == back.tobytes()


def test_explain_gives_one_plan_per_half_and_size(model: OpenModel, images: Path) -> None:
    plans = explain(model, [images])
    assert [(plan.half, plan.size) for plan in plans] == [("encode", (53, 63)), ("decode", (53, 63))]


def test_what_is_missing_is_refused(model: OpenModel, vae_file: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        reconstruct(model, [tmp_path / "none.png"], tmp_path / "out")
    with pytest.raises(NotFound):
        decode(model, [tmp_path], tmp_path / "out")
    with pytest.raises(NotFound):
        open_model(ModelOptions(str(vae_file)), correct=True)
    assert not (tmp_path / "out").exists()
