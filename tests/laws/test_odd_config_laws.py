"""Whatever a VAE looks like, no verb ends in an exception that is not ours."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from every_verb import DIFFERENT, DONE, ERROR, LONG, QUICK, VERBS, Bench, fill, no_test_cards, outcomes
from family_examples import IMAGES

from vaekit.checkpoints.save import write_pieces
from vaekit.families import Config, assemble, family_with, layout_of
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.identification.metadata import describe
from vaekit.identification.weights import weights_of
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.likelihoods import BernoulliPart, NormalPart, TokensPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.priors import FlowPart, MixturePart
from vaekit.nets.sequence import SequenceConfig
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

Fields = dict[str, Any]
SHORT = {name: QUICK[name] for name in ("inspect", "reconstruct", "encode", "decode", "convert", "bake", "diff")}


def odd_fields(config: Config) -> Iterator[tuple[str, Fields]]:
    """Changes of one field or a few that belong together; those that a family cannot have are left out later."""
    fields = dataclasses.asdict(config)
    for name in ("image_channels", "latent_channels"):
        for count in (1, 2, 4, 12):
            if name in fields and fields[name] != count:
                hidden = {"hidden_channels": count} if name == "latent_channels" and "hidden_channels" in fields else {}
                yield f"{count} {name.replace('_', ' ')}", {name: count, **hidden}
    widths = {name: value for name, value in fields.items() if name.endswith("_widths") and value}
    blocks = {name: value for name, value in fields.items() if name.endswith("_blocks")}
    attention = {name: () for name in fields if name.endswith("_attention") and isinstance(fields[name], tuple)}
    if widths:
        yield "narrow", {name: (8,) * len(value) for name, value in widths.items()} | groups(fields, 2)
        yield "odd widths", {name: (6,) * len(value) for name, value in widths.items()} | groups(fields, 3)
        yield "one level", shortened(fields, 1) | attention
        yield "two levels", shortened(fields, 2) | attention
        yield "more levels", lengthened(fields)
        yield "halves that differ", {"decoder_widths": tuple(2 * each for each in fields.get("decoder_widths", ()))}
    if blocks:
        one = {name: (1,) * len(value) if isinstance(value, tuple) else 1 for name, value in blocks.items()}
        yield "one block", one
        yield "no block", {name: (0,) * len(value) if isinstance(value, tuple) else 0 for name, value in blocks.items()}
        yield (
            "three blocks",
            {name: (3,) * len(value) if isinstance(value, tuple) else 3 for name, value in blocks.items()},
        )
    if attention:
        yield "no attention", attention | ({"mid_attention": False} if "mid_attention" in fields else {})
    if "norm_groups" in fields:
        yield "one group", {"norm_groups": 1}
        yield "as many groups as channels", {"norm_groups": min(map(min, widths.values()))}
    for name in ("quant_conv", "post_quant_conv", "pool", "temporal", "mid_attention"):
        if name in fields:
            yield f"other {name}", {name: not fields[name]}
    if "codes" in fields:
        yield "one code", {"codes": 1}
    if fields.get("padding") == "zeros":
        yield "reflecting", {"padding": "reflect"}


def groups(fields: Fields, count: int) -> Fields:
    return {"norm_groups": count} if "norm_groups" in fields else {}


def shortened(fields: Fields, levels: int) -> Fields:
    """The first levels of everything that has one entry per level."""
    length = len(fields.get("encoder_widths", fields.get("widths", ())))
    return {name: value[:levels] for name, value in fields.items() if isinstance(value, tuple) and len(value) == length}


def lengthened(fields: Fields) -> Fields:
    length = len(fields.get("encoder_widths", ()))
    return {
        name: (*value, value[-1])
        for name, value in fields.items()
        if isinstance(value, tuple) and len(value) == length and name.endswith(("_widths", "_blocks", "_scales"))
    }


def buildable(config: Config, fields: Fields) -> VAE | None:
    """A VAE with random weights of the changed config; None if there is none."""
    family = family_with(config)
    assert family is not None
    try:
        changed = dataclasses.replace(config, **fields)
        vae = assemble(family, changed, normalization=LatentNormalization((0.0,), (0.5,))).eval()
    except (ValueError, IndexError, TypeError, RuntimeError, AssertionError, ZeroDivisionError, KeyError):
        return None
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in vae.state_dict().values():
            if tensor.is_floating_point():
                values = 0.1 * torch.randn(tensor.shape, generator=generator)
                tensor.copy_(values.abs() if tensor.dim() == 1 else values)  # variances are positive
    return vae


OTHERS: dict[str, Config] = {
    "table": PartsConfig(
        MLPConfig((5,), 2, (8,)), GaussianPart(), ColumnsPart(("normal:3", "bernoulli:2")), MixturePart()
    ),
    "melodies": PartsConfig(
        SequenceConfig(5, 6, 3, 8, 4, encoder="groups", group=4, decoder_width=6), GaussianPart(), TokensPart()
    ),
    "sentences": PartsConfig(SequenceConfig(5, 6, 2, 8, 4), GaussianPart(), TokensPart(), FlowPart()),
    "flat images": PartsConfig(MLPConfig((1, 12, 12), 2, (8,)), GaussianPart(), BernoulliPart()),
    "one pixel": PartsConfig(MLPConfig((3, 1, 1), 1, ()), GaussianPart(), NormalPart()),
}
"""VAEs of parts, most of them of something else than images."""
CONFIGS = IMAGES | OTHERS
CASES = {
    f"{name}: {what}": (name, fields) for name, config in IMAGES.items() for what, fields in odd_fields(config)
} | {f"{name}: plain": (name, {}) for name in CONFIGS}
SAMPLE = {"tiny: 12 image channels": True, "tiny: 1 latent channels": False, "one pixel: plain": True}
"""What is tried each time, and whether its file states its config."""
EXAMINED = tuple(case for case in CASES if case.endswith(": plain") or case.startswith("tiny: "))
"""What `doctor` examines every night: it takes seconds for each, and a minute for others."""


def bench_for(case: str, folder: Path, lpips: Path, stated: bool) -> Bench | None:
    """A file in the native layout, with or without metadata; None for what cannot be built."""
    name, fields = CASES[case]
    vae = buildable(CONFIGS[name], fields)
    if vae is None:
        return None
    family, config = family_with(vae.config), vae.config
    assert family is not None
    layout = layout_of("native", family.name, config)
    assert layout is not None
    for part in ("models", "work"):
        (folder / part).mkdir(parents=True)
    metadata = describe(family.name, config, vae.normalization) if stated else {}
    path = folder / "models" / "vae.safetensors"
    write_pieces(weights_of(vae, family, config).pieces(layout), path, metadata, path)
    return Bench(path, fill(folder / "images", config.geometry.channels), lpips, folder / "work")


def check(bench: Bench | None, verbs: dict[str, Any]) -> None:
    if bench is None:
        pytest.skip("the family has no such network")
    codes = dict(outcomes(bench, verbs))
    assert set(codes.values()) <= {DONE, DIFFERENT, ERROR}


@pytest.mark.parametrize("case", SAMPLE)
def test_odd_vaes_end_in_no_traceback(case: str, tmp_path: Path, lpips_file: Path) -> None:
    check(bench_for(case, tmp_path, lpips_file, SAMPLE[case]), SHORT)


@pytest.mark.parametrize("verb", ["doctor", "finetune"])
def test_images_of_one_pixel_end_in_no_traceback(verb: str, tmp_path: Path, lpips_file: Path) -> None:
    check(bench_for("one pixel: plain", tmp_path, lpips_file, stated=True), {verb: LONG[verb]})


@pytest.mark.nightly
@pytest.mark.parametrize("stated", [True, False], ids=["stated", "bare"])
@pytest.mark.parametrize("case", CASES)
def test_no_verb_ends_in_a_traceback(
    case: str, stated: bool, tmp_path: Path, lpips_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_test_cards(monkeypatch)
    verbs = {name: verb for name, verb in VERBS.items() if stated or name in QUICK}
    check(
        bench_for(case, tmp_path, lpips_file, stated),
        {name: verb for name, verb in verbs.items() if name != "doctor" or case in EXAMINED},
    )


@pytest.mark.nightly
@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("family", IMAGES)
def test_halves_end_in_no_traceback(
    family: str, half: str, tmp_path: Path, lpips_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_test_cards(monkeypatch)
    bench = bench_for(f"{family}: plain", tmp_path, lpips_file, stated=True)
    assert bench is not None
    other = "decoder" if half == "encoder" else "encoder"
    vae = buildable(IMAGES[family], {})
    known, layout = family_with(IMAGES[family]), layout_of("native", family, IMAGES[family])
    assert vae is not None and known is not None and layout is not None
    setattr(vae, other, None)
    metadata = describe(family, vae.config, vae.normalization)
    write_pieces(weights_of(vae, known, vae.config).pieces(layout), bench.vae, metadata, bench.vae)
    check(bench, VERBS)
