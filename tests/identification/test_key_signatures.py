"""VAEs that vaekit knows and does not run are distinguished from all others by the key names of published files."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import diffusers
import pytest
import torch
from autoencoder_classes import OF_DIFFUSERS, OF_TRANSFORMERS, RUNNABLE, autoencoder_classes, of_diffusers, shapes_of
from recognized_examples import DCAE_VIDEO, RECOGNIZED, SVD, TAEHV, weights
from safetensors.torch import save_file

import vaekit
from vaekit.catalog.tables import family_facts, table
from vaekit.checkpoints.convert import convert
from vaekit.checkpoints.extract import extract
from vaekit.errors import NotRunnable, WrongTensors
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.identification.identify import identify, identify_parts
from vaekit.identification.key_signatures import (
    listed_families,
    listing,
    match_non_vae,
    match_unsupported,
    unsupported_families,
)
from vaekit.identification.locate import locate
from vaekit.library.inspect import inspect

Shapes = Mapping[str, tuple[int, ...]]
NOT_RUN = {known.name for known in unsupported_families()}
PUBLISHED = {sample: example for sample, example in RECOGNIZED.items() if example[0] in NOT_RUN}


def file_of(shapes: Shapes) -> TensorFile:
    specs = {key: TensorSpec(tuple(shape), torch.float32) for key, shape in shapes.items()}
    return TensorFile(Path("any-name"), "safetensors", {}, specs, lambda _: {})


def check(shapes: Shapes, name: str, channels: int | None, factor: int | None, prefix: str = "") -> None:
    """One entry says yes, beside its original and fallbacks, whose names are descriptions ("an autoencoder with ...");
    no runnable family takes the file, and the error says what does."""
    file = file_of({prefix + key: shape for key, shape in shapes.items()})
    text = listing(file.specs)
    claims = [known for known in listed_families() if known.prefix_in(file.specs, text) is not None]
    originals = {known.variant_of for known in claims}
    assert [known.name for known in claims if known.name not in originals and known.name[:3] != "an "] == [name]
    assert originals - {""} <= {known.name for known in claims}
    seen = match_unsupported(file.specs)
    assert seen is not None
    own = "vae." if name == "MMAudio" and "vae.data_mean" in shapes else ""
    assert (seen[0].channels_of(file.specs, seen[1].removesuffix(own)), seen[0].factor) == (channels, factor)
    assert seen[1] == prefix + own
    with pytest.raises(NotRunnable) as caught:
        identify_parts(file.path, (locate(file),), {})
    assert name in caught.value.found and seen[0].runs_in in caught.value.remedy


@pytest.mark.parametrize("sample", PUBLISHED)
def test_recognized_by_exactly_one_entry(sample: str) -> None:
    name, channels, factor, build = PUBLISHED[sample]
    for prefix in ("", "first_stage_model.", "vae."):
        check(build(), name, channels, factor, prefix)


@pytest.mark.parametrize("sample", [sample for sample, (name, _) in OF_DIFFUSERS.items() if name in NOT_RUN])
def test_classes_of_diffusers_are_recognized_by_their_keys(sample: str) -> None:
    name, channels = OF_DIFFUSERS[sample]
    factor = next(known.factor for known in unsupported_families() if known.name == name)
    check(of_diffusers(sample), name, channels, factor, "vae.")


def test_every_autoencoder_of_diffusers_is_known() -> None:
    """By its keys: a class of a newer diffusers needs an entry, or a family that runs it."""
    assert autoencoder_classes().keys() <= OF_DIFFUSERS.keys() | RUNNABLE.keys()


@pytest.mark.parametrize("name", RUNNABLE)
def test_classes_that_run_are_left_to_their_families(name: str) -> None:
    shapes = of_diffusers(name)
    assert match_unsupported(file_of(shapes).specs) is None
    assert locate(file_of(shapes)).layout.family in RUNNABLE[name]


@pytest.mark.parametrize("sample", [sample for sample, (name, _) in OF_DIFFUSERS.items() if name not in NOT_RUN])
def test_a_class_that_came_to_run_is_not_claimed_any_more(sample: str) -> None:
    file = file_of(of_diffusers(sample))
    assert match_unsupported(file.specs) is None
    assert locate(file).names


def test_every_recognized_vae_has_a_sample() -> None:
    sampled = {name for name, *_ in RECOGNIZED.values()} | {name for name, _ in OF_DIFFUSERS.values()}
    assert sampled == {entry["name"] for entry in table("unsupported.toml")["vae"]}


def test_a_superseded_entry_is_that_of_a_runnable_family() -> None:
    listed = {entry["name"] for entry in table("unsupported.toml")["vae"]}
    superseded = {name for facts in family_facts() for name in facts.get("supersedes", ())}
    assert superseded == listed - NOT_RUN


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "entry"), [each for each in OF_TRANSFORMERS.items() if each[1] not in NOT_RUN])
def test_classes_of_transformers_that_came_to_run_are_located(name: str, entry: str) -> None:
    import transformers

    build = getattr(transformers, name)
    file = file_of(shapes_of(lambda: build(build.config_class())))
    assert match_unsupported(file.specs) is None
    located = locate(file)
    (facts,) = (facts for facts in family_facts() if entry in facts.get("supersedes", ()))
    assert located.layout.family == facts["family"]


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "entry"), [each for each in OF_TRANSFORMERS.items() if each[1] in NOT_RUN])
def test_classes_of_transformers_are_recognized_by_their_keys(name: str, entry: str) -> None:
    import transformers

    build = getattr(transformers, name)
    shapes = shapes_of(lambda: build(build.config_class()))
    channels = next(known.channels for known in listed_families() if known.name == entry)
    check(shapes, entry, channels, None, "codec.")


def test_a_variant_is_that_of_an_entry() -> None:
    listed = {known.name: known for known in listed_families()}
    for known in listed.values():
        assert known.variant_of in ("", *listed)
        assert known.media in ("images", "video", "sound", "shapes", "proteins") and known.models


def test_shapes_tell_relatives_apart() -> None:
    """DC-AE of images has no axis of time."""
    image = {key: shape[:2] + shape[3:] for key, shape in DCAE_VIDEO.items()}
    assert match_unsupported(file_of(image).specs) is None


def test_wan22_is_left_to_its_family() -> None:
    arguments = {"z_dim": 48, "is_residual": True, "base_dim": 16, "decoder_base_dim": 32, "patch_size": 2}
    shapes = shapes_of(lambda: diffusers.AutoencoderKLWan(in_channels=12, out_channels=12, **arguments))
    assert match_unsupported(file_of(shapes).specs) is None


def test_the_rest_of_a_checkpoint_does_not_hide_it() -> None:
    unet = "model.diffusion_model.input_blocks.0.0.in_layers.2.weight"
    image_encoder = "conditioner.embedders.0.open_clip.model.visual.transformer.resblocks.0.mlp.c_fc.weight"
    inside = {f"first_stage_model.{key}": shape for key, shape in SVD.items()}
    seen = match_unsupported(file_of(inside | weights(unet, image_encoder)).specs)
    assert seen is not None
    assert (seen[0].name, seen[1]) == ("Stable Video Diffusion", "first_stage_model.")


def inspected(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    save_file(
        {f"vae.{key}": torch.zeros([1 if side > 48 else side for side in shape]) for key, shape in TAEHV.items()}, path
    )
    return path


def test_inspect_says_what_it_is_and_that_it_does_not_run(tmp_path: Path) -> None:
    seen = inspect(inspected(tmp_path))
    assert (seen.runnable, seen.family, seen.latent_channels, seen.factor) == (
        False,
        "TAEHV / TAEW (tiny, for video)",
        16,
        None,
    )
    assert (seen.prefix, seen.halves, seen.normalization, seen.config) == ("vae.", ("encoder", "decoder"), None, {})
    assert seen.parameters > 0 and seen.dtypes == ("float32",)
    assert seen.problems
    json.dumps(dataclasses.asdict(seen))


def test_what_runs_says_so(kl_vae: vaekit.VAE, tmp_path: Path) -> None:
    vaekit.save(kl_vae, tmp_path / "x.safetensors")
    assert inspect(tmp_path / "x.safetensors").runnable is True


def test_a_broken_vae_is_still_a_broken_vae(kl_vae: vaekit.VAE, tmp_path: Path) -> None:
    tensors = {key: tensor.contiguous() for key, tensor in kl_vae.state_dict().items()}
    save_file(tensors | {"decoder.mid.block_9.conv1.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WrongTensors):
        identify(tmp_path / "x.safetensors")


def test_a_whole_svd_checkpoint_is_called_that_by_every_command(
    sparse_file: Callable[..., Path], svd_shapes: Shapes, tmp_path: Path
) -> None:
    path = sparse_file("svd.safetensors", svd_shapes)
    out = tmp_path / "out.safetensors"
    for command in (lambda: extract(path, out), lambda: convert(path, out), lambda: vaekit.load(path)):
        with pytest.raises(NotRunnable) as raised:
            command()
        assert "Stable Video Diffusion" in raised.value.found
    assert not out.exists()
    seen = inspect(path)
    assert (seen.runnable, seen.family, seen.prefix) == (False, "Stable Video Diffusion", "first_stage_model.")
    assert (seen.latent_channels, seen.halves) == (4, ("encoder", "decoder"))


@pytest.mark.parametrize(
    "ending", ["", ".lora_down.weight.x", "resnets.0.norm1.conv_b.weight.x", ".lora.down.weight.x"]
)
def test_hostile_names_take_no_time(ending: str) -> None:
    keys = [f"{'lora_.' * 25}{i}{ending}" for i in range(30_000)] + ["a." * 100_000, "x\ny"]
    specs = file_of(dict.fromkeys(keys, (1,))).specs
    start = time.process_time()
    assert match_unsupported(specs) is None
    assert match_non_vae(specs) is None
    assert time.process_time() - start < 10


# ------------------------------------------------------------------------------------- vector-quantized relatives of vq

LDM_NETS = (
    {f"encoder.down.{i}.block.0.conv1.weight": (32, 32, 3, 3) for i in range(2)}
    | {f"decoder.up.{i}.block.0.conv1.weight": (32, 32, 3, 3) for i in range(2)}
    | {"encoder.conv_in.weight": (32, 3, 3, 3), "decoder.conv_in.weight": (32, 8, 3, 3)}
    | {f"encoder.conv_{end}.bias": (8,) for end in ("in", "out")}
    | {"quant_conv.weight": (8, 8, 1, 1), "post_quant_conv.weight": (8, 8, 1, 1)}
)
CODES = {"quantize.embedding.weight": (16, 8)}
ENDS = {name: shape for name, shape in LDM_NETS.items() if "block" not in name}
QUANTIZED: dict[str, list[Shapes]] = {
    "Gumbel VQGAN": [
        LDM_NETS | {"quantize.proj.weight": (16, 8, 1, 1), "quantize.embed.weight": (16, 8)},
        {"quantizer.proj.weight": (16, 8), "quantizer.embed.weight": (16, 8), "encoder.x.weight": (1,)},
    ],
    "DALL-E's discrete VAE": [
        {f"blocks.group_{i}.block_1.res_path.conv_{j}.w": (4, 4) for i in (1, 2) for j in (1, 2)},
        {"enc.blocks.input.w": (4, 4), "enc.blocks.output.conv.w": (4, 4)},
    ],
    "DALLE-pytorch's discrete VAE": [
        {"codebook.weight": (16, 8), "encoder.0.0.weight": (4, 3, 4, 4), "decoder.0.0.weight": (8, 4, 4, 4)}
    ],
    "VAR's multi-scale VQ": [
        LDM_NETS | CODES | {f"quantize.quant_resi.qresi_ls.{i}.weight": (8, 8, 3, 3) for i in range(4)},
        LDM_NETS | CODES | {"quantize.ema_vocab_hit_SV": (10, 16)},
    ],
    "LlamaGen's VQ tokenizer": [
        ENDS | CODES | {f"{half}.conv_blocks.0.res.0.norm1.weight": (32,) for half in ("encoder", "decoder")},
        ENDS
        | CODES
        | {f"{half}.conv_blocks.1.res.2.norm1.weight": (32,) for half in ("encoder", "decoder")}
        | {"quantize.codebook_used": (65536,), "encoder.mid.0.norm1.weight": (32,)},
    ],
    "MaskGIT's VQGAN": [
        LDM_NETS | CODES | {f"encoder.mid.{i}.norm1.weight": (32,) for i in range(2)},
        LDM_NETS | CODES | {"decoder.up.1.upsample_conv.weight": (32, 32, 3, 3)},
    ],
    "TiTok (1-D tokenizer)": [
        CODES | {"encoder.latent_token_positional_embedding": (32, 8), "decoder.mask_token": (1, 1, 8)},
        CODES | {"latent_tokens": (32, 8), "decoder.mask_token": (1, 1, 8)},
    ],
    "Open-MAGVIT2": [
        LDM_NETS
        | {"encoder.mid_block.0.norm1.weight": (32,), "decoder.up.1.upsample.conv1.weight": (128, 32, 3, 3)}
        | more
        for more in ({}, {"quantize.mask": (18,)})
    ],
    "RQ-VAE (residual quantization)": [
        LDM_NETS | {f"quantizer.codebooks.{i}.weight": (17, 8) for i in range(4)},
        LDM_NETS | {"quantizer.codebooks.0.weight": (17, 8), "quantizer.codebooks.0.embed_ema": (16, 8)},
    ],
    "ViT-VQGAN": [
        {"pre_quant.weight": (8, 32), "post_quant.weight": (32, 8), "encoder.transformer.layers.0.0.norm.weight": (32,)}
    ],
    "VQ-VAE-2 (hierarchical)": [
        {"quantize_t.embed": (8, 16), "quantize_b.embed": (8, 16), "enc_b.blocks.0.weight": (1,)}
    ],
    "an autoencoder with FSQ or LFQ (no codebook)": [
        LDM_NETS | {"quantize.project_in.weight": (4, 8), "quantize.project_out.weight": (8, 4)},
        LDM_NETS | {"quantize._levels": (4,)},
        LDM_NETS | {"quantizer.lfq.mask": (16,)},
    ],
    "an autoencoder with a quantizer of vector-quantize-pytorch": [
        LDM_NETS | {"vq._codebook.embed": (1, 16, 8), "vq._codebook.initted": (1,)},
        LDM_NETS | {f"quantizer.layers.{i}._codebook.embed": (1, 16, 8) for i in range(3)},
    ],
}


def test_every_quantized_relative_has_a_sample() -> None:
    assert set(QUANTIZED) == {entry["name"] for entry in table("quantized.toml")["vae"]}


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
@pytest.mark.parametrize(
    ("name", "index"), [(name, i) for name, samples in QUANTIZED.items() for i in range(len(samples))]
)
def test_quantized_relatives_are_called_by_name(name: str, index: int, prefix: str) -> None:
    file = file_of({prefix + key: shape for key, shape in QUANTIZED[name][index].items()})
    listed = "\n".join(file.specs)
    claims = [known.name for known in unsupported_families() if known.signature.prefix_in(listed) is not None]
    assert claims == [name]
    with pytest.raises(NotRunnable) as caught:
        locate(file)
    assert name in caught.value.found


def test_a_plain_codebook_is_no_relative() -> None:
    assert match_unsupported(file_of(LDM_NETS | CODES).specs) is None
