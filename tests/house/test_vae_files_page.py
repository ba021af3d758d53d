"""docs/vae-files.md is what the families and tables say, and has a line for each of them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from vaekit.catalog.entries import LatentSpace, latent_spaces
from vaekit.families import FAMILIES
from vaekit.identification.key_signatures import unsupported_families

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_vae_files_page", DOCS / "write_vae_files_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(writer: ModuleType) -> None:
    assert (DOCS / "vae-files.md").read_text("utf-8") == writer.page(), "run `make docs`"


def test_every_family_kind_and_recognized_vae_has_a_line(writer: ModuleType) -> None:
    page = writer.page()
    for name in (*(kind.name for kind in latent_spaces()), *(known.name for known in unsupported_families())):
        assert f"| {name} |" in page
    for family in FAMILIES:
        assert f"| {family.name} |" in page


def test_what_the_words_mean(writer: ModuleType) -> None:
    rows = {kind.name: writer.row(kind) for kind in latent_spaces()}
    assert rows["SDXL"][1::2] == ("kl", "yes", rows["SDXL"][5])
    assert rows["SDXL"][2].startswith("yes; same shapes as SD1 / SD2")
    assert rows["SDXL"][5].startswith("native, diffusers, ldm")
    assert rows["FLUX.2"][2] == "yes; normalization from the file's statistics"
    assert rows["SD x4 upscaler"][2] == "yes; normalization from the shapes"
    assert rows["LDM kl-f16"][2] == "yes; no normalization published"
    assert "tiny" in rows["TAESD (latents of SD1 or SDXL)"][5]
    assert "diffusers" not in rows["TAEF2 (latents of FLUX.2)"][5]


def test_a_family_without_a_latent_space_has_a_row(writer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "latent_spaces", tuple)
    assert {kind.family for kind in writer.by_family()} == {family.name for family in FAMILIES}
    assert all(isinstance(kind, LatentSpace) and writer.row(kind) for kind in writer.by_family())
