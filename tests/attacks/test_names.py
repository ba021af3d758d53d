"""Names that are not UTF-8, control a terminal or turn its text around: all works, and nothing raw is printed."""

import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from soft_images import write_soft

from vaekit.checkpoints.save import save
from vaekit.cli import main
from vaekit.errors import VaekitError, visible
from vaekit.families import assemble, family_of
from vaekit.families.tiny.net import TinyConfig
from vaekit.json import dumps, in_ascii
from vaekit.normalization import LatentNormalization

BAD = os.fsdecode(b"caf\xe9 \x1b[31mred\x07\n\xc2\x9b2J \xe2\x80\xae")
"""Latin-1, an escape sequence, a bell, a line break, a C1 control and an override of the direction."""
RAW = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
Call = Callable[..., tuple[str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command on a terminal of strict UTF-8; returns what it printed."""

    def run(*arguments: object, statuses: Sequence[int] = (0,)) -> tuple[str, str]:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "strict") for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["vaekit", *map(str, arguments)])
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as ended:
                main()
            printed = []
            for stream in (out, err):
                stream.flush()
                printed.append(stream.buffer.getvalue().decode("utf-8"))  # type: ignore[attr-defined]
        assert ended.value.code in statuses, printed
        assert not RAW.search(printed[0] + printed[1]), printed
        return printed[0], printed[1]

    return run


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("names") / f"{BAD}.safetensors"
    torch.manual_seed(0)
    config = TinyConfig(3, 4, (), (4, 4), (4, 4), (1, 1), (1, 1), False)
    save(assemble(family_of("tiny"), config, normalization=LatentNormalization()), path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names") / BAD
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        write_soft(folder / f"{i} {BAD}.png", (36, 36), rng)
    return folder


@pytest.fixture(autouse=True)
def no_card_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.comparison.compare.card_measures", lambda _: {})


@pytest.mark.parametrize("extra", [(), ("--json",)], ids=["table", "json"])
def test_files_go_through(call: Call, vae: Path, images: Path, tmp_path: Path, extra: tuple[str, ...]) -> None:
    out = tmp_path / BAD
    for verb, given in (("reconstruct", images), ("encode", images), ("decode", out)):
        printed, _ = call(verb, given, "--vae", vae, "-o", out, *extra)
        if extra:
            assert json.loads(printed)["failures"] == []
    assert len(list(out.glob("*.png"))) == 4


@pytest.mark.parametrize("extra", [(), pytest.param(("--json",), marks=pytest.mark.nightly)], ids=["table", "json"])
def test_images_are_measured(call: Call, vae: Path, images: Path, tmp_path: Path, extra: tuple[str, ...]) -> None:
    (images / f"broken {BAD}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / BAD
    try:
        call("evaluate", "--data", images, "--vae", vae, "--out", out, *extra)
        call("evaluate", "--data", images, "--vae", vae, "--out", out, *extra)
        call("compare", images, "--vae", vae, "-o", out / "x.html", *extra)
        call("diff", vae, vae, "--images", images, *extra, statuses=(0, 1))
    finally:
        (images / f"broken {BAD}.png").unlink()
    page = (out / "x.html").read_text("utf-8")
    assert not re.search("[\0-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", page)
    json.loads((out / "x.json").read_text("utf-8"))


@pytest.mark.parametrize("extra", [(), ("--json",)], ids=["table", "json"])
def test_weights_are_found_and_written(call: Call, vae: Path, tmp_path: Path, extra: tuple[str, ...]) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / f"none {visible(BAD)}.safetensors")
    call("inspect", vae, *extra)
    call("list", "--models", vae.parent, *extra)
    call("list", "--models", tmp_path, *extra)
    call("convert", vae, tmp_path / f"{BAD}.safetensors", *extra)
    call("convert", vae, tmp_path / f"{BAD}.pt", *extra)
    call("diff", vae, tmp_path / f"{BAD}.pt", *extra)
    call("reconstruct", "none", "--vae", BAD, *extra, statuses=(1,))
    call("push", tmp_path / BAD, "someone/something", "--dry-run", *extra, statuses=(1,))


def test_tables_and_text(call: Call, tmp_path: Path) -> None:
    data, text, run = tmp_path / f"{BAD}.csv", tmp_path / f"{BAD}.txt", tmp_path / f"run {BAD}"
    data.write_text("a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(40)) + "damaged\n")
    text.write_text("".join(f"word {i % 5}\n" for i in range(40)))
    for recipe, given in (("tables", data), ("text", text)):
        out = run / recipe
        call("train", recipe, "--data", given, "--out", out, "--samples", 64, "--set", "schedule.batch_size=32")
        call("evaluate", "--data", given, "--vae", out, "--out", out / "evaluation", "--nll", 0)
        call("reconstruct", given, "--vae", out, "-o", out / "results", "--side-by-side", "--json")
        call("encode", given, "--vae", out, "-o", out / "results")
        call("decode", out / "results", "--vae", out, "-o", out / "results2")


def test_a_finetuned_vae_and_its_model_card(call: Call, vae: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / BAD
    short = ("--samples", 4, "--set", "schedule.batch_size=2", "--set", "schedule.warmup_samples=2")
    call(
        *("finetune", "--vae", vae, "--data", images, "--out", out, "--set", "images.size=32", *short),
        *("--set", "data.held_out=2", "--title", BAD, "--license", BAD),
    )
    card = (out / "README.md").read_text("utf-8")
    assert not RAW.search(card)
    call("push", out, "someone/something", "--dry-run", "--json")
    call("inspect", out)


def test_the_text_of_an_error_is_safe_to_print() -> None:
    error = VaekitError(f"{BAD} is bad.", BAD, BAD)
    assert not RAW.search(str(error)) and "\n" not in str(error)
    assert "caf\\xe9 \\x1b[31mred\\x07\\x0a\\x9b2J \\u202e" in error.found
    assert visible("日本 \u3000 \u200d é") == "日本 \u3000 \u200d é"


def test_json_escapes_by_its_own_rules() -> None:
    text = dumps({BAD: [BAD]}, indent=None)
    assert not RAW.search(text)
    assert json.loads(text) == {BAD.replace("\udce9", "\ufffd"): [BAD.replace("\udce9", "\ufffd")]}
    assert in_ascii(text).isascii()
    assert json.loads(in_ascii(dumps("é\U0001f600"))) == "é\U0001f600"
