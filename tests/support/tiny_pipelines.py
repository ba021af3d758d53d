"""Tiny diffusers pipelines with random weights, saved to disk as published ones are: nothing is downloaded."""

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
LENGTH = 16
"""Tokens of a prompt."""
WIDTH = 32


def clip_tokenizer(folder: Path) -> Any:
    """CLIP's byte-pair encoding over letters, with two merges."""
    folder.mkdir(parents=True)
    merges = [("c", "a"), ("ca", "t</w>")]
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n")
    return transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH)


def clip(seed: int, projected: bool = False) -> Any:
    torch.manual_seed(seed)
    last = 2 * len(LETTERS) + 3
    config = transformers.CLIPTextConfig(
        vocab_size=last + 1,
        hidden_size=WIDTH,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=LENGTH,
        projection_dim=WIDTH,
        bos_token_id=last - 1,
        eos_token_id=last,
        pad_token_id=last,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config).eval()


def t5_tokenizer() -> Any:
    """A unigram model over words and letters, as T5's, in the format of the tokenizers library."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), *((letter, -3.0) for letter in LETTERS)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokens = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LENGTH, **tokens)


def t5(seed: int) -> Any:
    torch.manual_seed(seed)
    config = transformers.T5Config(
        vocab_size=4 + len(LETTERS), d_model=WIDTH, d_kv=8, d_ff=37, num_layers=1, num_heads=4
    )
    return transformers.T5EncoderModel(config).eval()


def kl(channels: int, seed: int = 0, **settings: Any) -> Any:
    """A VAE with the structure of SD1's for 4 channels, of FLUX.1's for 16, with a factor of 4."""
    torch.manual_seed(seed)
    quant = {"use_quant_conv": channels == 4, "use_post_quant_conv": channels == 4}
    return diffusers.AutoencoderKL(
        block_out_channels=(32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=channels,
        sample_size=32,
        norm_num_groups=8,
        **(quant | settings),
    ).eval()


def unet(**settings: Any) -> Any:
    torch.manual_seed(2)
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **settings,
    ).eval()


def sd1(folder: Path) -> Any:
    """Stable Diffusion 1."""
    return diffusers.StableDiffusionPipeline(
        vae=kl(4, scaling_factor=0.18215),
        text_encoder=clip(1),
        tokenizer=clip_tokenizer(folder / "words"),
        unet=unet(cross_attention_dim=WIDTH, attention_head_dim=8),
        scheduler=diffusers.PNDMScheduler(beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(folder: Path) -> Any:
    """Stable Diffusion XL."""
    return diffusers.StableDiffusionXLPipeline(
        vae=kl(4, scaling_factor=0.13025),
        text_encoder=clip(1),
        text_encoder_2=clip(2, projected=True),
        tokenizer=clip_tokenizer(folder / "words"),
        tokenizer_2=clip_tokenizer(folder / "words-2"),
        unet=unet(
            cross_attention_dim=2 * WIDTH,
            attention_head_dim=(2, 4),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012),
        add_watermarker=False,
    )


def sd3(folder: Path) -> Any:
    """Stable Diffusion 3."""
    torch.manual_seed(4)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * WIDTH,
    )
    return diffusers.StableDiffusion3Pipeline(
        vae=kl(16, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=clip(1, projected=True),
        text_encoder_2=clip(2, projected=True),
        text_encoder_3=t5(3),
        tokenizer=clip_tokenizer(folder / "words"),
        tokenizer_2=clip_tokenizer(folder / "words-2"),
        tokenizer_3=t5_tokenizer(),
        transformer=transformer.eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def flux(folder: Path, guidance: bool = True) -> Any:
    """FLUX.1, by default with guidance as an input of the model as in dev."""
    torch.manual_seed(5)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance,
    )
    return diffusers.FluxPipeline(
        vae=kl(16, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=clip(1),
        text_encoder_2=t5(3),
        tokenizer=clip_tokenizer(folder / "words"),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer.eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


KINDS = {"sd1": sd1, "sdxl": sdxl, "sd3": sd3, "flux": flux}


def saved(kind: str, folder: Path) -> Path:
    """A pipeline of a kind in a folder."""
    KINDS[kind](folder / f"parts-{kind}").save_pretrained(folder / kind)
    return folder / kind
