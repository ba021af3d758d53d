"""Settings of small nets for recipes."""

SMALL_IMAGES = {
    "image_channels": 3,
    "hidden_channels": 4,
    "encoder_widths": [8, 8],
    "decoder_widths": [8, 8],
    "encoder_blocks": 1,
    "decoder_blocks": 1,
    "encoder_attention": [],
    "decoder_attention": [],
    "mid_attention": False,
    "quant_conv": True,
    "post_quant_conv": True,
    "norm_groups": 4,
}
