"""The card of a fine-tuned VAE: its numbers are the report's, its header is YAML, and foreign text stays text."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import lacks

from vaekit.comparison.candidates import Reconstruction
from vaekit.comparison.latent_space import GROUP
from vaekit.comparison.measure_table import measures_in
from vaekit.comparison.records import Comparison, Estimate, MeasuredCandidate, MeasuredImage, Report, ShownImage
from vaekit.domains.images.read import LoadedImage, read_image
from vaekit.metrics.measure import Measure
from vaekit.report.card_images import (
    REACH,
    CardImage,
    ColorErrors,
    most_different,
    write_crops,
    write_histogram,
)
from vaekit.report.model_card import About, model_card

LINEAGE: dict[str, Any] = {
    "parent": {"name": "taesd", "fingerprint": "f" * 64, "family": "tiny"},
    "trained": "decoder",
    "data": {"path": "photos", "items": 1234},
    "samples": 20_000,
    "seed": 3,
    "vaekit": "0.1.0",
}
RECIPE = {"about": "a ``` fence", "schedule": {"samples": 20_000, "averages": [0.999]}, "begun_with": {"x": None}}


def about(**changes: Any) -> About:
    told: dict[str, Any] = {
        "title": "Mine",
        "lineage": LINEAGE,
        "recipe": RECIPE,
        "files": ["taesd_decoder.safetensors", "taesd_encoder.safetensors"],
        "layout": "tiny",
        "dtypes": ["float16"],
        "license": "MIT",
        "license_source": "as that of its parent",
        "base_model": "madebyollin/taesd",
        "diffusers_class": "AutoencoderTiny",
    }
    return About(**told | changes)


def report() -> Report:
    images = tuple(MeasuredImage(f"{i}.png", {}) for i in range(7))
    values = {"before": {"psnr": 24.5, "lpips_alex": 0.0512}, "after": {"psnr": 25.25, "lpips_alex": 0.0461}}
    sets = tuple(
        MeasuredCandidate(name, 1, "", (), (), {key: Estimate(value) for key, value in found.items()}, images)
        for name, found in values.items()
    )
    compared = Comparison("psnr", "after", "before", 0.75, 0.5, 1.0, 0.001)
    return Report(sets, (compared,), measures_in({"psnr", "lpips_alex"}), (), {"dtype": "fp32"})


def card(told: About) -> str:
    return model_card(told, report(), [CardImage("crop_1.png", "A crop")], CardImage("errors.png", "Errors"))


def test_numbers_protocol_and_lineage() -> None:
    text = card(about())
    assert re.search(r"\| PSNR .*\| 24\.50 \| 25\.25 \| \+0\.75 .*0\.50.*1\.00", text)
    assert re.search(r"\| LPIPS \(alex\).*\| 0\.0512 \| 0\.0461 \|", text)
    assert not lacks(text, "7", "fp32")
    assert "f" * 64 in text and not lacks(text, "20,000", "3", "1,234", "photos")
    assert "![A crop](images/crop_1.png)" in text and "![Errors](images/errors.png)" in text
    assert "models/vae_approx" in text and "AutoencoderTiny" in text
    recipe = text.split("````toml\n")[1].split("\n````")[0]
    assert tomllib.loads(recipe)["schedule"] == RECIPE["schedule"]


@pytest.mark.parametrize(
    ("license", "lines"),
    [
        ("MIT", ["license: mit"]),
        ("CreativeML Open RAIL-M", ["license: creativeml-openrail-m"]),
        ("Playground v2.5 Community", ["license: other", 'license_name: "playground-v2.5-community"']),
        ("", ["license: unknown"]),
    ],
)
def test_the_header_says_the_license_as_the_hub_does(license: str, lines: list[str]) -> None:
    header = card(about(license=license)).split("---\n")[1].splitlines()
    assert header[: len(lines)] == lines
    assert 'base_model: "madebyollin/taesd"' in header


def test_without_a_license_the_card_says_so() -> None:
    text = card(about(license="", base_model=""))
    assert "license: unknown" in text and "base_model" not in text


def test_foreign_words_stay_words() -> None:
    odd = {"name": "a`b<script>\n# c", "fingerprint": "0", "family": "kl"}
    text = card(about(lineage={**LINEAGE, "parent": odd, "data": {"path": "[x](http://y)"}}, base_model=""))
    assert "<script>" not in text and "\n# c" not in text and "](http" not in text.split("## How to use")[0]


@pytest.mark.parametrize(
    ("layout", "files", "words"),
    [
        ("diffusers", ["diffusion_pytorch_model.safetensors", "config.json"], 'from_pretrained("REPO")'),
        ("ldm", ["vae.safetensors"], 'from_single_file("vae.safetensors")'),
        ("native", ["vae.safetensors"], "vaekit convert NAME vae_diffusers --layout diffusers"),
    ],
)
def test_how_to_use_it_follows_the_layout(layout: str, files: list[str], words: str) -> None:
    text = card(about(layout=layout, files=files, diffusers_class="AutoencoderKL"))
    assert words in text
    assert ("library_name: diffusers" in text) == (layout == "diffusers")


CHANGED_PADDING = {"padding": {"before": "zeros", "after": "reflect"}}
ROUNDED = {"dtype": {"before": "float32", "after": "bfloat16"}}


@pytest.mark.parametrize(
    ("told", "facts", "absent"),
    [
        ({}, [], ["reflect", "bfloat16"]),
        ({"trained": "encoder and decoder"}, [], ["reflect", "bfloat16"]),
        ({"changes": CHANGED_PADDING}, ["zeros", "reflect"], ["bfloat16"]),
        ({"changes": ROUNDED}, ["float32", "bfloat16"], ["reflect"]),
        ({"trained": "encoder and decoder", "changes": CHANGED_PADDING}, ["zeros", "reflect"], ["bfloat16"]),
    ],
)
def test_what_is_said_of_latents_is_true(told: dict[str, Any], facts: list[str], absent: list[str]) -> None:
    text = card(about(lineage=LINEAGE | told))
    assert not lacks(text, *facts) and lacks(text, *absent) == absent


def test_each_state_of_the_latents_is_said_in_words_of_its_own() -> None:
    states = ({}, {"trained": "encoder and decoder"}, {"changes": CHANGED_PADDING}, {"changes": ROUNDED})
    assert len({card(about(lineage=LINEAGE | told)) for told in states}) == len(states)


@pytest.mark.parametrize("layout", ["ldm", "native", "diffusers"])
def test_programs_that_cannot_reflect_are_not_recommended(layout: str) -> None:
    parent = LINEAGE["parent"] | {"family": "kl"}
    told = {"layout": layout, "files": ["vae.safetensors"], "lineage": LINEAGE | {"parent": parent}}
    text = card(about(**told, padding="reflect"))
    assert "vaekit reconstruct" in text
    for words in ("from_single_file", "from_pretrained", "--layout diffusers", "models/vae", "models/VAE"):
        assert words not in text
    assert "models/vae" in card(about(**told, padding="zeros")) or layout == "native"


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        ({"items": 1234, "held_out": 34, "of_its_own": False}, "1,200"),
        ({"items": 1234, "held_out": 34, "of_its_own": True}, "1,234"),
    ],
)
def test_images_that_were_held_out_were_not_trained_on(data: dict[str, Any], fact: str) -> None:
    assert not lacks(card(about(lineage=LINEAGE | {"data": data})), fact)


def test_only_an_average_is_called_one() -> None:
    averaged, last = card(about()), card(about(averaged=False))
    assert "float16" in averaged and "float16" in last
    assert averaged != last


def test_crops_show_where_the_two_differ(tmp_path: Path) -> None:
    original = torch.zeros(1, 3, 200, 240)
    before, after, flat = original.clone(), original.clone(), original.clone()
    original[..., 155, 205] = 0.5
    after[..., 150:160, 200:210] = 1
    shown = ShownImage("x.png", original, {"before": before, "after": after}, "worst LPIPS")
    blank = ShownImage("y.png", flat, {"before": before, "after": after}, "best LPIPS")
    (tmp_path / "crop_9.png").write_bytes(b"of an earlier call")
    [made] = write_crops([blank, shown], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [made.file] == ["crop_1.png"]
    assert "worst LPIPS" in made.alt
    sheet = read_image(tmp_path / made.file)
    assert sheet.width > 3 * 96 * 3 and (sheet.pixels > 0.9).any()
    levels = [np.zeros((200, 240, 3), np.uint8) for _ in range(2)]
    levels[1][150:160, 200:210] = 255
    window = most_different(*levels)
    assert window.y <= 150 and window.y + window.height >= 160 and window.x <= 200 and window.x + window.width >= 210


def test_the_histogram_counts_levels(tmp_path: Path) -> None:
    x = torch.zeros(1, 3, 10, 10)
    made = x.clone()
    made[:, 0] += 4 * 2 / 255
    made[:, 1, 0] = -1  # farther off than is drawn
    errors = ColorErrors()
    errors("x", LoadedImage(x), Reconstruction(made))
    shares = errors.shares()
    assert shares[0, REACH + 4] == 1.0 and shares[2, REACH] == 1.0
    assert shares[1].sum() == shares[1, REACH] == pytest.approx(0.9)
    write_histogram(errors, errors, tmp_path / "errors.png")
    with Image.open(tmp_path / "errors.png") as image:
        assert image.width > 900


def test_latent_spaces_have_a_table_where_they_were_measured() -> None:
    assert "## Latent space" not in card(about())
    found = Measure("ppl", "PPL", "", "lower", "", GROUP)
    plain = report()
    after = tuple(
        replace(one, measures={**one.measures, **({"ppl": Estimate(3.25)} if one.name == "after" else {})})
        for one in plain.candidates
    )
    told = replace(plain, candidates=after, measures=(*plain.measures, found))
    text = model_card(about(), told, [], CardImage("errors.png", "Errors"))
    assert "## Latent space" in text and "| PPL, lower is better |  | 3.25 |" in text
