"""VAEs that vaekit knows and does not run are told from all others: by the key names of published files."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import vaekit
from vaekit.catalog.tables import family_facts, table
from vaekit.checkpoints.convert import convert
from vaekit.checkpoints.extract import extract
from vaekit.errors import NotRunnable, WrongTensors
from vaekit.formats.open import TensorFile, TensorSpec
from vaekit.identification.identify import identify
from vaekit.identification.key_signatures import match_non_vae, match_unsupported, unsupported_families
from vaekit.identification.locate import locate
from vaekit.library.inspect import inspect

Shapes = Mapping[str, tuple[int, ...]]


def file_of(shapes: Shapes) -> TensorFile:
    specs = {key: TensorSpec(tuple(shape), torch.float32) for key, shape in shapes.items()}
    return TensorFile(Path("any-name"), "safetensors", {}, specs, lambda _: {})


def weights(*keys: str) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(keys, (4, 4))


def shapes_of(build: Callable[[], nn.Module]) -> Shapes:
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in build().state_dict().items()}


def paella() -> nn.Module:
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel

    return PaellaVQModel()


def movq() -> nn.Module:
    levels = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    return diffusers.VQModel(
        block_out_channels=(32, 64),
        down_block_types=levels[0],
        up_block_types=levels[1],
        latent_channels=4,
        num_vq_embeddings=16,
        vq_embed_dim=4,
        norm_type="spatial",
    )


def temporal() -> nn.Module:
    return diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2, layers_per_block=1
    )


SVD = {
    "decoder.mid.block_1.mix_factor": (1,),
    "decoder.mid.block_1.time_stack.in_layers.0.weight": (512,),
    "decoder.conv_in.weight": (512, 4, 3, 3),
    "encoder.conv_in.weight": (128, 3, 3, 3),
} | {f"encoder.down.{i}.block.0.conv1.weight": (128, 128, 3, 3) for i in range(4)}
TAEHV = (
    {f"decoder.{i}.conv.{j}.weight": (256, 256, 3, 3) for i in (3, 4, 5) for j in (0, 2, 4)}
    | {"decoder.1.weight": (256, 16, 3, 3), "decoder.7.conv.weight": (256, 256, 1, 1)}
    | {f"encoder.{i}.conv.{j}.weight": (64, 64, 3, 3) for i in (4, 5, 6) for j in (0, 2, 4)}
    | {"encoder.0.weight": (64, 3, 3, 3), "encoder.2.conv.weight": (64, 128, 1, 1)}
)
MOCHI_DECODER = {"blocks.0.0.weight": (768, 12, 1, 1, 1), "blocks.2.blocks.3.stack.5.weight": (256, 256, 3, 3, 3)}
PREVIEWER = {"blocks.0.weight": (512, 16, 1, 1)} | {f"blocks.{i}.running_mean": (512,) for i in (2, 5, 8, 11)}
EFFNET = {
    "backbone.1.0.block.0.1.running_mean": (24,),
    "backbone.0.0.weight": (24, 3, 3, 3),
    "mapper.0.weight": (16, 1280, 1, 1),
}
LTX = {
    "decoder.up_blocks.0.res_blocks.0.conv1.conv.weight": (1024, 1024, 3, 3, 3),
    "decoder.conv_in.conv.weight": (1024, 128, 3, 3, 3),
    "per_channel_statistics.mean-of-means": (128,),
    "decoder.last_time_embedder.timestep_embedder.linear_1.weight": (512, 256),
}
RAE = {
    "decoder.trainable_cls_token": (1, 1, 1152),
    "decoder.decoder_embed.weight": (1152, 768),
    "decoder.decoder_embed.bias": (1152,),
} | {f"decoder.decoder_layers.{i}.attention.to_q.weight": (1152, 1152) for i in range(8)}
SIGLIP = {"encoder.vision_model.embeddings.patch_embedding.weight": (768, 3, 16, 16)}
MAE = {
    "encoder.embeddings.patch_embeddings.projection.weight": (768, 3, 16, 16),
    "encoder.layers.0.layernorm_before.weight": (768,),
}
LTX_CLASS = partial(diffusers.AutoencoderKLLTXVideo, timestep_conditioning=True)
RECOGNISED: dict[str, tuple[str, int | None, int | None, Callable[[], Shapes]]] = {
    "ConsistencyDecoder": (
        "ConsistencyDecoder",
        4,
        8,
        lambda: shapes_of(
            lambda: diffusers.ConsistencyDecoderVAE(
                encoder_block_out_channels=(32, 64), encoder_down_block_types=("DownEncoderBlock2D",) * 2
            )
        ),
    ),
    "SVD": ("Stable Video Diffusion", 4, 8, lambda: SVD),
    "SVD in diffusers": ("Stable Video Diffusion", 4, 8, lambda: shapes_of(temporal)),
    "Cosmos": (
        "Cosmos tokenizer",
        None,
        None,
        lambda: weights("decoder.unpatcher3d.wavelets", "encoder.conv_in.0.conv3d.weight"),
    ),
    "Cosmos in diffusers": ("Cosmos tokenizer", 16, None, lambda: shapes_of(diffusers.AutoencoderKLCosmos)),
    "stage A": (
        "Stable Cascade stage A",
        4,
        4,
        lambda: {"vquantizer.codebook.weight": (8192, 4), "in_block.1.weight": (192, 12, 1, 1)},
    ),
    "stage A in diffusers": ("Stable Cascade stage A", 4, 4, lambda: shapes_of(paella)),
    "effnet": ("Stable Cascade effnet encoder", 16, 32, lambda: EFFNET),
    "previewer": ("Stable Cascade previewer", 16, None, lambda: PREVIEWER),
    "TAEHV": ("TAEHV / TAEW (tiny, for video)", 16, None, lambda: TAEHV),
    "TAEW2.2": ("TAEHV / TAEW (tiny, for video)", 48, None, lambda: TAEHV | {"decoder.1.weight": (256, 48, 3, 3)}),
    "CogVideoX": ("CogVideoX", 16, 8, lambda: shapes_of(diffusers.AutoencoderKLCogVideoX)),
    "LTX": ("LTX-Video 0.9.1 to 0.9.8", 128, 32, lambda: LTX),
    "LTX in diffusers": ("LTX-Video 0.9.1 to 0.9.8", 128, 32, lambda: shapes_of(LTX_CLASS)),
    "Mochi": ("Mochi 1", 12, 8, lambda: MOCHI_DECODER),
    "RAE with SigLIP 2": ("RAE with SigLIP 2 or MAE", 768, 16, lambda: RAE | SIGLIP),
    "RAE with MAE": ("RAE with SigLIP 2 or MAE", 768, 16, lambda: RAE | MAE),
    "HunyuanVideo": ("HunyuanVideo", 16, 8, lambda: shapes_of(diffusers.AutoencoderKLHunyuanVideo)),
    "MoVQ": ("MoVQ (Kandinsky 2)", 4, 8, lambda: shapes_of(movq)),
    "sound": ("ACE-Step (music)", None, None, lambda: weights("vocoder.backbone.channel_layers.0.0.bias")),
    "3D shapes": ("Hunyuan3D shape VAE", None, None, lambda: weights("geo_decoder.cross_attn_decoder.ln_1.bias")),
    "Oobleck": ("Stable Audio (Oobleck)", 64, None, lambda: weights("decoder.layers.1.layers.0.beta")),
}
NEWER = {
    "AutoencoderKLHunyuanVideo15": ("HunyuanVideo 1.5 / HunyuanImage refiner", 32),
    "AutoencoderKLHunyuanImageRefiner": ("HunyuanVideo 1.5 / HunyuanImage refiner", 32),
    "AutoencoderKLLTX2Video": ("LTX-Video", 128),
    "AutoencoderKLMochi": ("Mochi 1 in diffusers' layout", 12),
    "Kandinsky6SRVAE": ("Kandinsky 6", 64),
    "AutoencoderRAE": ("RAE (representation autoencoder)", 768),
    "AutoencoderKLKVAE": ("KVAE 2-D (Kandinsky)", 16),
    "AutoencoderKLKVAEVideo": ("KVAE 3-D (Kandinsky)", 16),
    "AutoencoderKLAllegro": ("Allegro", 4),
    "AutoencoderKLMagvit": ("EasyAnimate (MagVIT)", 16),
    "AutoencoderVidTok": ("VidTok", 4),
}


def check(shapes: Shapes, name: str, channels: int | None, factor: int | None, prefix: str = "") -> None:
    """Exactly one entry says yes, no runnable family takes the file, and the error says what runs it."""
    file = file_of({prefix + key: shape for key, shape in shapes.items()})
    listed = "\n".join(file.specs)
    claims = [known for known in unsupported_families() if known.signature.prefix_in(listed) is not None]
    assert [known.name for known in claims] == [name]
    seen = match_unsupported(file.specs)
    assert seen is not None
    assert (seen[0].channels_of(file.specs, seen[1]), seen[0].factor, seen[1]) == (channels, factor, prefix)
    with pytest.raises(NotRunnable) as caught:
        locate(file)
    assert name in caught.value.found and seen[0].runs_in in caught.value.remedy


NOT_RUN = {known.name for known in unsupported_families()}


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "vae."])
@pytest.mark.parametrize("sample", [sample for sample, (name, *_) in RECOGNISED.items() if name in NOT_RUN])
def test_recognized_by_exactly_one_entry(sample: str, prefix: str) -> None:
    name, channels, factor, build = RECOGNISED[sample]
    check(build(), name, channels, factor, prefix)


@pytest.mark.parametrize("sample", [sample for sample, (name, _) in NEWER.items() if name in NOT_RUN])
def test_what_newer_diffusers_has(sample: str) -> None:
    if not hasattr(diffusers, sample):
        pytest.skip(f"this diffusers has no {sample}")
    name, channels = NEWER[sample]
    factor = next(known.factor for known in unsupported_families() if known.name == name)
    check(shapes_of(getattr(diffusers, sample)), name, channels, factor)


def test_every_recognized_vae_has_a_sample() -> None:
    sampled = {name for name, *_ in RECOGNISED.values()} | {name for name, _ in NEWER.values()}
    assert sampled == {entry["name"] for entry in table("unsupported.toml")["vae"]}


def test_a_superseded_entry_is_that_of_a_runnable_family() -> None:
    listed = {entry["name"] for entry in table("unsupported.toml")["vae"]}
    superseded = {name for facts in family_facts() for name in facts.get("supersedes", ())}
    assert superseded == listed - NOT_RUN


OF_RUNNABLE_FAMILIES = {
    "AsymmetricAutoencoderKL": {},
    "AutoencoderDC": {},
    "AutoencoderKLQwenImage": {"base_dim": 16},
    "AutoencoderKLWan": {"base_dim": 16},
    "AutoencoderKLQwenImage21": {},
    "AutoencoderKLFlux2": {},
    "AutoencoderKLHunyuanVideo": {},
    "AutoencoderKLHunyuanVideo15": {},
    "AutoencoderKLHunyuanImageRefiner": {},
    "AutoencoderKLCogVideoX": {},
    "AutoencoderKLLTXVideo": {},
    "AutoencoderKLLTX2Video": {},
    "AutoencoderKLMochi": {},
    "Kandinsky6SRVAE": {},
    "AutoencoderKL": {},
    "AutoencoderTiny": {},
    "VQModel": {},
}


def test_wan22_is_left_to_its_family() -> None:
    arguments = {"z_dim": 48, "is_residual": True, "base_dim": 16, "decoder_base_dim": 32, "patch_size": 2}
    shapes = shapes_of(lambda: diffusers.AutoencoderKLWan(in_channels=12, out_channels=12, **arguments))
    assert match_unsupported(file_of(shapes).specs) is None


@pytest.mark.parametrize("name", OF_RUNNABLE_FAMILIES)
def test_vaes_that_run_are_left_to_their_families(name: str) -> None:
    if not hasattr(diffusers, name):
        pytest.skip(f"this diffusers has no {name}")
    shapes = shapes_of(lambda: getattr(diffusers, name)(**OF_RUNNABLE_FAMILIES[name]))
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
