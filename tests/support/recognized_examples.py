"""Tensors of published files of VAEs that vaekit recognizes and does not run.

Each example is (the name in `unsupported.toml`, latent channels, pixels per latent, shapes).
"""

from collections.abc import Callable
from functools import cache

import diffusers
from autoencoder_classes import Shapes, shapes_of
from torch import nn

Example = tuple[str, int | None, int | None, Callable[[], Shapes]]


def weights(*keys: str) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(keys, (4, 4))


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
}
DIFFUSION_DECODER = {
    "decoder.conv_in.weight": (2048, 128),
    "decoder.conv_in_x_t.weight": (256, 48),
    "decoder.det_stages.0.0.attn.qkv.weight": (6144, 2048),
    "decoder.diff_blocks.0.scale_shift_table": (7, 256),
    "encoder.conv_in.conv.weight": (128, 48, 3, 3, 3),
    "per_channel_statistics.mean-of-means": (128,),
}
MAGE = {
    "student.dconv_encoder.proj_out.weight": (256, 384, 1, 1),
    "student.dconv_encoder.t_embedder.mlp.0.weight": (384, 256),
    "pipeline.dec_net.res_blocks.0.mlp.0.weight": (32, 32),
    "pipeline.x_embedder.embedder.0.weight": (384, 99),
    "pipeline.y_embedder.encoder.encoder.conv_in.weight": (128, 3, 3, 3),
}
FCDM_DECODER = {
    "latent_up.weight": (896, 128, 1, 1),
    "fuse_in.weight": (896, 1792, 1, 1),
    "fuse_skip.weight": (896, 1792, 1, 1),
    "start_blocks.0.dwconv.weight": (896, 1, 7, 7),
    "middle_blocks.0.dwconv.weight": (896, 1, 7, 7),
    "end_blocks.0.dwconv.weight": (896, 1, 7, 7),
    "out_proj.weight": (768, 896, 1, 1),
}
SEEDVR2 = {
    "decoder.conv_in.weight": (512, 16, 3, 3, 3),
    "decoder.mid_block.resnets.0.norm1.weight": (512,),
    "decoder.mid_block.attentions.0.group_norm.weight": (512,),
    "decoder.up_blocks.0.upsamplers.0.upscale_conv.weight": (2048, 512, 1, 1, 1),
    "decoder.up_blocks.2.upsamplers.0.upscale_conv.weight": (1024, 256, 1, 1, 1),
    "encoder.conv_in.weight": (128, 3, 3, 3, 3),
}
HUNYUAN_IMAGE_3 = (
    {"decoder.conv_in.weight": (1024, 32, 3, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3, 3)}
    | {f"decoder.mid.attn_1.{name}.weight": (1024,) for name in ("norm", "q", "k", "v")}
    | {f"decoder.up.{i}.block.{j}.conv{k}.weight": (8, 8, 3, 3, 3) for i in range(3) for j in range(3) for k in (1, 2)}
    | {
        f"encoder.down.{i}.block.{j}.conv{k}.weight": (8, 8, 3, 3, 3)
        for i in range(3)
        for j in range(2)
        for k in (1, 2)
    }
)
DCAE_VIDEO = {
    f"decoder.stages.{i}.op_list.{j}.main.conv{k}.conv.weight": (8, 8, 3, 3, 3)
    for i in range(2)
    for j in range(3)
    for k in (1, 2)
} | {"decoder.project_in.main.conv.weight": (64, 32, 3, 3, 3)}


def h3(blocks: int) -> Shapes:
    """MiniMax-H3 with the authors' own names."""
    return {f"decoder.transformer_blocks.{i}.scale1": (2048,) for i in range(blocks)} | {
        "decoder.x_embedder.weight": (2048, 24),
        "encoder.down.5.block.0.conv1.weight": (1024, 1024, 3, 3, 3),
    }


def oobleck(channels: int) -> Shapes:
    """The names of Stable Audio's own files, with this number of audio channels."""
    return {
        "encoder.layers.0.weight_v": (128, channels, 7),
        "decoder.layers.0.weight_v": (2048, 64, 7),
        "decoder.layers.1.layers.0.beta": (2048,),
        "decoder.layers.7.weight_v": (channels, 128, 7),
    }


RECOGNIZED: dict[str, Example] = {
    "SVD": ("Stable Video Diffusion", 4, 8, lambda: SVD),
    "Cosmos": (
        "Cosmos tokenizer",
        None,
        None,
        lambda: weights("decoder.unpatcher3d.wavelets", "encoder.conv_in.0.conv3d.weight"),
    ),
    "stage A": (
        "Stable Cascade stage A",
        4,
        4,
        lambda: {"vquantizer.codebook.weight": (8192, 4), "in_block.1.weight": (192, 12, 1, 1)},
    ),
    "stage A in diffusers": ("Stable Cascade stage A", 4, 4, cache(lambda: shapes_of(paella))),
    "effnet": ("Stable Cascade effnet encoder", 16, 32, lambda: EFFNET),
    "previewer": ("Stable Cascade previewer", 16, None, lambda: PREVIEWER),
    "TAEHV": ("TAEHV / TAEW (tiny, for video)", 16, None, lambda: TAEHV),
    "TAEW2.2": ("TAEHV / TAEW (tiny, for video)", 48, None, lambda: TAEHV | {"decoder.1.weight": (256, 48, 3, 3)}),
    "LTX": ("LTX-Video", 128, 32, lambda: LTX),
    "LTX 0.9.5": (
        "LTX-Video 0.9.1 to 0.9.8",
        128,
        32,
        lambda: LTX | {"decoder.last_time_embedder.timestep_embedder.linear_1.weight": (512, 256)},
    ),
    "LTX-2.5": ("LTX-2.5 diffusion decoder", 128, 32, lambda: DIFFUSION_DECODER),
    "Mochi": ("Mochi 1", 12, 8, lambda: MOCHI_DECODER),
    "MoVQ": ("MoVQ (Kandinsky 2)", 4, 8, cache(lambda: shapes_of(movq))),
    "Mage": ("Mage-VAE", 128, 16, lambda: MAGE),
    "Mage's decoder": ("Mage-VAE", 128, 16, lambda: {k: s for k, s in MAGE.items() if k.startswith("pipeline")}),
    "capacitor": ("capacitor", 128, 16, lambda: FCDM_DECODER),
    "SemDisDiffAE": (
        "SemDisDiffAE, DINAC-AE or full_capacitor",
        128,
        None,
        lambda: {f"decoder.{key}": shape for key, shape in FCDM_DECODER.items()} | {"encoder.out.weight": (256, 896)},
    ),
    "RAE with MAE": (
        "RAE with SigLIP 2 or MAE",
        1024,
        16,
        lambda: {
            "encoder.embeddings.patch_embeddings.projection.weight": (1024, 3, 16, 16),
            "decoder.trainable_cls_token": (1, 1, 512),
            "decoder.decoder_embed.weight": (512, 1024),
        },
    ),
    "SeedVR2": ("SeedVR2", 16, 8, lambda: SEEDVR2),
    "HunyuanImage 3": ("HunyuanImage 3 (3-D)", 32, 16, lambda: HUNYUAN_IMAGE_3),
    "H3": ("MiniMax-H3", 24, 16, lambda: h3(36)),
    "Sol": ("Sol-H3", 24, 16, lambda: h3(24)),
    "LynnReal": ("LynnReal light (MiniMax-H3)", 24, 16, lambda: h3(26)),
    "DC-AE-V": ("DC-AE for video (DC-AE-V)", 32, None, lambda: DCAE_VIDEO),
    "WF-VAE": (
        "WF-VAE (Open-Sora-Plan)",
        8,
        8,
        lambda: (
            weights("encoder.connect_l1.weight", "encoder.down1.0.weight", "decoder.connect_l1.0.norm1.weight")
            | {"decoder.up1.0.norm1.weight": (8,), "decoder.conv_in.conv.weight": (512, 8, 3, 3, 3)}
        ),
    ),
    "LeanVAE": (
        "LeanVAE",
        None,
        8,
        lambda: weights("latent_bottleneck.phi", "std_layer.weight", "encoder.a.weight", "decoder.a.weight"),
    ),
    "Step-Video": (
        "Step-Video",
        64,
        16,
        lambda: weights("decoder.conv_unpatchify.conv.weight", "decoder.mid.block_1.conv1.conv.weight"),
    ),
    "Oobleck": ("Stable Audio (Oobleck)", 64, None, lambda: weights("decoder.layers.1.layers.0.beta")),
    "Oobleck, stereo": ("Stable Audio (Oobleck)", 64, None, lambda: oobleck(2)),
    "LongCat": ("LongCat-AudioDiT", 64, None, lambda: oobleck(1)),
    "SAME": (
        "Stable Audio 3 (SAME)",
        256,
        None,
        lambda: weights("decoder.layers.3.transformers.0.pre_norm.alpha"),
    ),
    "SAME-S": (
        "Stable Audio 3 SAME-S (authors' file)",
        256,
        None,
        lambda: (
            weights("decoder.layers.3.transformers.0.pre_norm.alpha")
            | {"decoder.layers.3.mapping.weight_v": (512, 768, 3)}
        ),
    ),
    "sound": ("ACE-Step (music)", 8, None, lambda: weights("vocoder.backbone.channel_layers.0.0.bias")),
    "ACE-Step's vocoder": (
        "ACE-Step (music)",
        8,
        None,
        lambda: (
            weights("backbone.channel_layers.0.0.weight", "head.conv_pre.weight", "head.conv_post.weight")
            | weights("head.resblocks.0.convs1.0.weight")
        ),
    ),
    "AudioLDM": (
        "AudioLDM (with its vocoder)",
        8,
        4,
        lambda: (
            {
                f"vocoder.{key}": (4, 4)
                for key in ("conv_pre.weight_g", "resblocks.0.convs1.0.weight_g", "conv_post.bias")
            }
            | {
                f"encoder.down.{i}.block.{j}.conv{k}.weight": (8, 8, 3, 3)
                for i in range(3)
                for j in (0, 1)
                for k in (1, 2)
            }
            | {"quant_conv.weight": (16, 16, 1, 1), "post_quant_conv.weight": (8, 8, 1, 1)}
        ),
    ),
    "LTX audio": (
        "LTX-2 audio",
        8,
        None,
        lambda: (
            weights("audio_vae.decoder.mid.block_1.conv1.conv.weight", "vocoder.conv_pre.weight")
            | weights("vocoder.resblocks.0.convs1.0.weight", "vocoder.conv_post.weight")
            | {"audio_vae.decoder.conv_in.conv.weight": (512, 8, 3, 3)}
        ),
    ),
    "MMAudio": (
        "MMAudio",
        20,
        None,
        lambda: (
            weights("decoder.learnable_gain", "decoder.mid.attn_1.qkv.weight")
            | {"decoder.conv_in.weight": (512, 20, 3)}
        ),
    ),
    "H3 audio": ("MiniMax-H3 audio", 32, None, lambda: weights("pre_block.attn.zero_k_bias", "dec_in_proj.weight")),
    "Music 3": ("MiniMax Music 3", 128, None, lambda: weights("dec_in_proj.weight", "decoder.model.0.weight_g")),
    "DAC": (
        "DAC (Descript Audio Codec)",
        None,
        None,
        lambda: (
            weights("encoder.block.1.block.0.block.0.alpha", "quantizer.quantizers.0.in_proj.weight_g")
            | weights("decoder.model.0.weight_g", "decoder.model.1.block.0.alpha")
        ),
    ),
    "DAC in transformers": (
        "DAC (Descript Audio Codec)",
        None,
        None,
        lambda: weights("encoder.block.0.res_unit1.snake1.alpha", "quantizer.quantizers.0.in_proj.weight"),
    ),
    "SNAC": (
        "SNAC",
        None,
        None,
        lambda: (
            weights("encoder.block.1.block.0.block.0.alpha", "quantizer.quantizers.0.in_proj.weight_g")
            | weights("decoder.model.3.block.2.linear.parametrizations.weight.original0")
        ),
    ),
    "EnCodec": (
        "EnCodec",
        128,
        None,
        lambda: weights("encoder.model.13.lstm.weight_ih_l0", "quantizer.vq.layers.0._codebook.embed"),
    ),
    "EnCodec 48 kHz": (
        "EnCodec 48 kHz",
        128,
        None,
        lambda: (
            weights("encoder.layers.13.lstm.weight_ih_l0", "quantizer.layers.0.codebook.embed")
            | weights("encoder.layers.0.norm.weight", "encoder.layers.0.conv.weight")
        ),
    ),
    "EnCodec in transformers": (
        "EnCodec",
        128,
        None,
        lambda: weights("encoder.layers.13.lstm.weight_ih_l0", "quantizer.layers.0.codebook.embed"),
    ),
    "WavTokenizer": (
        "WavTokenizer",
        512,
        None,
        lambda: (
            weights("feature_extractor.encodec.quantizer.vq.layers.0._codebook.embed", "head.out.weight")
            | weights("feature_extractor.encodec.encoder.model.13.lstm.weight_ih_l0", "backbone.embed.weight")
            | weights("backbone.convnext.0.dwconv.weight")
        ),
    ),
    "Mimi": (
        "Mimi",
        512,
        None,
        lambda: weights(
            "quantizer.rvq_first.vq.layers.0._codebook.embedding_sum",
            "quantizer.rvq_rest.vq.layers.0._codebook.embedding_sum",
        ),
    ),
    "Mimi in transformers": (
        "Mimi",
        512,
        None,
        lambda: weights(
            "quantizer.semantic_residual_vector_quantizer.layers.0.codebook.embed_sum",
            "quantizer.acoustic_residual_vector_quantizer.layers.0.codebook.embed_sum",
        ),
    ),
    "X-Codec": (
        "X-Codec",
        None,
        None,
        lambda: weights("acoustic_encoder.conv1.weight", "encoder_semantic.conv.weight"),
    ),
    "X-Codec 2": (
        "X-Codec 2 / NeuCodec",
        None,
        None,
        lambda: weights("acoustic_encoder.conv1.weight", "fc_encoder.weight", "quantizer.project_in.weight"),
    ),
    "VibeVoice": (
        "VibeVoice acoustic tokenizer",
        64,
        None,
        lambda: weights("encoder.stem.stage.0.ffn_gamma", "encoder.head.conv.weight"),
    ),
    "BigVGAN": (
        "BigVGAN (vocoder)",
        None,
        None,
        lambda: (
            weights("conv_pre.weight_g", "resblocks.0.activations.0.act.alpha", "activation_post.act.alpha")
            | weights("resblocks.0.convs1.0.weight_g", "conv_post.weight_g")
        ),
    ),
    "HiFi-GAN": (
        "HiFi-GAN (vocoder)",
        None,
        None,
        lambda: weights("conv_pre.weight", "resblocks.0.convs1.0.weight", "conv_post.weight", "upsampler.0.weight"),
    ),
    "Vocos": (
        "Vocos (vocoder)",
        None,
        None,
        lambda: weights("backbone.embed.weight", "backbone.convnext.0.dwconv.weight", "head.out.weight"),
    ),
    "3D shapes": ("Hunyuan3D shape VAE", None, None, lambda: weights("geo_decoder.cross_attn_decoder.ln_1.bias")),
    "TRELLIS.2": (
        "TRELLIS.2 (shapes and textures)",
        None,
        None,
        lambda: weights("shape_dec.blocks.1.16.to_subdiv.weight"),
    ),
    "TripoSplat": (
        "TripoSplat (Gaussians)",
        16,
        None,
        lambda: weights("gs.base_offset_scale", "octree.out_proj.weight"),
    ),
}
"""Files that are not those of diffusers' classes."""
