"""Representation autoencoders with DINOv2: names, detector and settings."""

import dataclasses
import math
from typing import Any

from vaekit.distributions import Laplace, Point
from vaekit.errors import UnknownVAE
from vaekit.families.family import Family, Fields, Shapes, first_shape, highest, no_prior, refuse_obstacles
from vaekit.families.layout import Layout, Rules, product, same_names
from vaekit.families.normalization import one_factor
from vaekit.families.rae import net as rae
from vaekit.families.rae.net import HEAD_WIDTH, RAEConfig
from vaekit.normalization import LatentNormalization

NAME = "AutoencoderRAE"
PUBLISHED_HEADS, PUBLISHED_GRID, PUBLISHED_LAYERS, PUBLISHED_REGISTERS = 16, 16, 12, 4
PUBLISHED_PATCH, PUBLISHED_POSITIONS = 14, 37
PUBLISHED_DECODER = {
    "decoder.cls_token": (1, 1, 1152),
    "decoder.pred.bias": (768,),
    "decoder.layers.27.fc1.bias": (4096,),
    "decoder.layers.0.fc1.bias": (4096,),
}
"""Shapes of the published decoder."""
STATISTICS = {"pixel_mean": "encoder_mean", "pixel_std": "encoder_std"} | {
    name: f"_{name}" for name in ("latents_mean", "latents_std")
}
TOKENS = ("cls_token", "mask_token", "register_tokens", "position_embeddings")
DECODER_BLOCK = {
    **{f"attn.{layer}": f"attention.to_{layer}" for layer in ("q", "k", "v")},
    "attn.proj_out": "attention.to_out.0",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
}
ENCODER_BLOCK = {"norm1": "norm1", "norm2": "norm2", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
PROJECTIONS = {f"attn.{layer}": f"attention.{layer}_proj" for layer in ("q", "k", "v")} | {
    "attn.proj_out": "attention.o_proj"
}
OLD_PROJECTIONS = {
    "attn.q": "attention.attention.query",
    "attn.k": "attention.attention.key",
    "attn.v": "attention.attention.value",
    "attn.proj_out": "attention.output.dense",
}


def names(projections: dict[str, str]) -> Rules:
    """The names of diffusers, with the names of the encoder's attention in a version of transformers."""
    layer = "encoder.encoder.layer.{i}"
    return (
        *((f"encoder.{token}", f"encoder.embeddings.{token}") for token in TOKENS),
        *product("encoder", "encoder.embeddings.patch_embeddings", {"projection": "projection"}),
        *product("encoder.layers.{i}", layer, ENCODER_BLOCK | projections),
        *((f"encoder.layers.{{i}}.scale{n}", f"{layer}.layer_scale{n}.lambda1") for n in (1, 2)),
        *product("decoder", "decoder", {"embed": "decoder_embed", "norm": "decoder_norm", "pred": "decoder_pred"}),
        ("decoder.cls_token", "decoder.trainable_cls_token"),
        *product("decoder.layers.{i}", "decoder.decoder_layers.{i}", DECODER_BLOCK),
        *((f"decoder.statistics.{native}", foreign) for native, foreign in STATISTICS.items()),
    )


def detect_rae(shapes: Shapes) -> RAEConfig | None:
    """The configuration of a representation autoencoder; what a half does not determine is as published."""
    token = first_shape(shapes, "encoder.cls_token")
    if token is not None and "decoder.embed.weight" not in shapes:
        width = PUBLISHED_DECODER["decoder.cls_token"][2]
        shapes = {**shapes, **PUBLISHED_DECODER, "decoder.embed.weight": (width, token[-1])}
    embed, pred = first_shape(shapes, "decoder.embed.weight"), first_shape(shapes, "decoder.pred.bias")
    hidden = first_shape(shapes, "decoder.layers.0.fc1.bias", "decoder.layers.0.fc1.weight")
    kernel = first_shape(shapes, "encoder.projection.weight")
    inside = first_shape(shapes, "encoder.layers.0.fc1.bias", "encoder.layers.0.fc1.weight")
    if embed is None or pred is None or hidden is None or len(embed) != 2:
        return None
    width, latent = embed
    image = kernel[1] if kernel and len(kernel) == 4 else 3
    positions = first_shape(shapes, "encoder.position_embeddings")
    registers = first_shape(shapes, "encoder.register_tokens")
    statistics = shapes.get("decoder.statistics.latents_mean", (1,))
    patch = math.isqrt(pred[0] // image)
    known = patch**2 * image == pred[0] and latent % HEAD_WIDTH == 0 and width % 4 == 0
    return (
        RAEConfig(
            image_channels=image,
            latent_channels=latent,
            encoder_layers=highest(shapes, r"encoder\.layers\.(\d+)\.") or PUBLISHED_LAYERS,
            encoder_hidden=inside[0] if inside else 4 * latent,
            encoder_patch=kernel[2] if kernel and len(kernel) == 4 else PUBLISHED_PATCH,
            encoder_positions=math.isqrt(positions[1] - 1) if positions else PUBLISHED_POSITIONS,
            registers=registers[1] if registers else PUBLISHED_REGISTERS,
            decoder_width=width,
            decoder_layers=highest(shapes, r"decoder\.layers\.(\d+)\."),
            decoder_hidden=hidden[0],
            decoder_heads=PUBLISHED_HEADS,
            patch=patch,
            grid=statistics[1] if len(statistics) == 3 and statistics[1] > 1 else PUBLISHED_GRID,
            statistics=statistics,
        )
        if known
        else None
    )


def with_stated_fields(config: RAEConfig, metadata: Fields, settings: Fields) -> RAEConfig:
    """Add the fields that weights do not determine, if the file states them.

    Raises:
        UnknownVAE: the heads do not divide the width, or the statistics are for another grid.
    """
    heads = whole(metadata.get("decoder_heads")) or whole(settings.get("decoder_num_attention_heads"))
    side, patch = whole(settings.get("encoder_input_size")), whole(settings.get("encoder_patch_size"))
    grid = whole(metadata.get("grid")) or (side // patch if side and patch else None) or config.grid
    changed = dataclasses.replace(config, decoder_heads=heads or config.decoder_heads, grid=grid)
    shapes = (1,), (config.latent_channels, 1, 1), (config.latent_channels, grid, grid)
    if changed.decoder_width % changed.decoder_heads or config.statistics not in shapes:
        raise UnknownVAE(
            f"This is a representation autoencoder with a decoder of width {config.decoder_width} with "
            f"{changed.decoder_heads} attention heads, and statistics of shape {list(config.statistics)} for a grid of "
            f"{grid}x{grid} positions.",
            "Expected a number of heads that divides the width, and statistics for the grid.",
            "Give the folder of the model, with its config.json.",
        )
    return changed


def whole(value: object) -> int | None:
    """A positive whole number; None for anything else."""
    return value if type(value) is int and value > 0 else None


def assumed(config: RAEConfig) -> list[str]:
    """A warning that the number of heads is assumed for a network unlike any published one."""
    if config.decoder_width % 64 and config.decoder_heads == PUBLISHED_HEADS:
        return [f"The decoder is assumed to have {PUBLISHED_HEADS} attention heads: weights do not determine it."]
    return []


def normalization_of(settings: Fields) -> LatentNormalization | None:
    """The factor in a config.json: mean and standard deviation are part of the network."""
    return LatentNormalization.from_values([0.0], [settings.get("scaling_factor", 1.0)]) if settings else None


def settings(config: RAEConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of AutoencoderRAE. Statistics are in tensors of the file; the config has their shape."""
    obstacles = {
        "MLPs of another width than four times the encoder's": config.encoder_hidden != 4 * config.latent_channels,
        f"{config.registers} registers": config.registers != PUBLISHED_REGISTERS,
        "another grid of stored positions": config.encoder_positions != 518 // config.encoder_patch,
    }
    refuse_obstacles(NAME, obstacles, '"native"')
    shaped = config.statistics != (1,)
    return {
        "_class_name": NAME,
        "decoder_hidden_size": config.decoder_width,
        "decoder_intermediate_size": config.decoder_hidden,
        "decoder_num_attention_heads": config.decoder_heads,
        "decoder_num_hidden_layers": config.decoder_layers,
        "encoder_hidden_size": config.latent_channels,
        "encoder_input_size": config.grid * config.encoder_patch,
        "encoder_num_hidden_layers": config.encoder_layers,
        "encoder_patch_size": config.encoder_patch,
        "encoder_type": "dinov2",
        "latents_mean": filled(0.0, config.statistics) if shaped else None,
        "latents_std": filled(1.0, config.statistics) if shaped else None,
        "num_channels": config.image_channels,
        "patch_size": config.patch,
    } | one_factor(normalization or LatentNormalization(), NAME)


def filled(value: float, shape: tuple[int, ...]) -> Any:
    """Nested lists of this shape."""
    return [filled(value, shape[1:]) for _ in range(shape[0])] if shape else value


NAMES, OLD_NAMES = names(PROJECTIONS), names(OLD_PROJECTIONS)
LAYOUTS = (
    Layout("diffusers", "rae", NAMES, unused=("decoder.decoder_pos_embed",)),
    Layout("diffusers-old", "rae", OLD_NAMES, unused=("decoder.decoder_pos_embed",)),
    Layout("native", "rae", same_names(NAMES)),
)
FAMILY = Family(
    name="rae",
    config=RAEConfig,
    layouts=LAYOUTS,
    detect=detect_rae,
    build=rae.build,
    posterior_head=lambda _: Point,
    likelihood_head=lambda _: Laplace,
    prior_head=no_prior,
    complete=with_stated_fields,
    assumed=assumed,
    diffusers=settings,
    normalization_from_settings=normalization_of,
)
