"""The table of measures of a report. Equations and sources are in the docstrings of the functions that compute them."""

from vaekit.comparison.records import Subject
from vaekit.metrics.measure import Better, Measure

OCTAVES = ("1/4 to 1/2", "1/8 to 1/4", "1/16 to 1/8", "1/32 to 1/16", "1/64 to 1/32")
"""Cycles per pixel; half the Nyquist frequency is 1/4."""


def _measures(group: str, *lines: tuple[str, str, str, Better | None, str]) -> tuple[Measure, ...]:
    return tuple(
        Measure(name, title, unit, better, about, group, name in HEADLINES)
        for name, title, unit, better, about in lines
    )


HEADLINES = ("psnr", "ms_ssim", "lpips_alex", "delta_e", "detail_1")
"""The rank is computed from these: fidelity, structure, perceptual similarity, color, fine detail."""

MEASURES: tuple[Measure, ...] = (
    *_measures(
        "fidelity",
        ("psnr", "PSNR", "dB", "higher", "Peak signal-to-noise ratio, 8-bit; equal images count as 100 dB."),
        ("ssim", "SSIM", "", "higher", "Structural similarity, Gaussian window of 11 (Wang et al. 2004), mean of RGB."),
        ("ms_ssim", "MS-SSIM", "", "higher", "Structural similarity over up to five scales (Wang et al. 2003)."),
        ("lpips_alex", "LPIPS (alex)", "", "lower", "Distance in AlexNet features, version 0.1 (Zhang et al. 2018)."),
        ("lpips_vgg", "LPIPS (vgg)", "", "lower", "Distance in VGG16 features, version 0.1 (Zhang et al. 2018)."),
    ),
    *_measures(
        "color",
        ("delta_e", "dE2000", "", "lower", "Color difference (CIE 142-2001); 1 is just noticeable."),
        (
            "delta_e_95",
            "dE2000, 95th percentile",
            "dE2000",
            "lower",
            "Color difference that 95 % of the pixels stay below.",
        ),
        ("lightness_bias", "Lightness bias", "L*", "zero", "Mean change of L*, 0 to 100."),
        ("chroma_bias", "Chroma bias", "%", "zero", "Relative change of chroma, in Lab."),
        ("hue_bias", "Hue bias", "degrees", "zero", "Rotation of hues in Lab, from red towards yellow."),
        ("white_tint", "Tint of white", "a*b*", "lower", "Color change of the lightest 5 % of the pixels."),
        ("red_shift", "Red shift", "levels", "zero", "Mean change of the red channel, in 8-bit levels."),
        ("green_shift", "Green shift", "levels", "zero", "Mean change of the green channel, in 8-bit levels."),
        ("blue_shift", "Blue shift", "levels", "zero", "Mean change of the blue channel, in 8-bit levels."),
        ("skin_delta_e", "dE2000 on skin", "dE2000", "lower", "Where pixels have skin colors (Chai and Ngan 1999)."),
        (
            "foliage_delta_e",
            "dE2000 on foliage",
            "dE2000",
            "lower",
            "Where pixels have the colors of leaves (ExG - ExR).",
        ),
        (
            "checker_delta_e",
            "dE2000 on the color checker",
            "dE2000",
            "lower",
            "Mean over the centers of its 24 patches.",
        ),
    ),
    *_measures(
        "tone",
        ("contrast", "Contrast", "", "one", "Slope of reconstructed against original luma, over means of 8x8 blocks."),
        ("brightness", "Brightness", "levels", "zero", "Mean change of luma, in 8-bit levels."),
        ("white_point", "White point", "levels", "zero", "Change of the 99.5th percentile of luma, in 8-bit levels."),
        ("black_point", "Black point", "levels", "zero", "Change of the 0.5th percentile of luma, in 8-bit levels."),
        ("highlights_clipped", "Highlights clipped", "%", "lower", "Pixels newly at 255 in a channel."),
        ("shadows_clipped", "Shadows clipped", "%", "lower", "Pixels newly at 0 in a channel."),
        (
            "contrast_gain",
            "Contrast gain",
            "",
            "one",
            "Ratio of the standard deviations of luma, reconstruction to original.",
        ),
    ),
    *_measures(
        "detail",
        *(
            (
                f"detail_{number}",
                f"Detail kept, {octave}",
                "",
                "one",
                f"Amplitude of the original's detail between {octave} cycles per pixel that is preserved.",
            )
            for number, octave in enumerate(OCTAVES, start=1)
        ),
        (
            "power_1",
            "Power, 1/4 to 1/2",
            "",
            "one",
            "Ratio of the power of the finest detail, whether it was in the original or not.",
        ),
        ("edge_sharpness", "Edge sharpness", "", "one", "Ratio of the gradients at the strongest edges."),
        (
            "mtf50",
            "Sharpness of slanted edges",
            "",
            "one",
            "Ratio of the frequencies at half contrast (ISO 12233).",
        ),
        (
            "gradient_retention",
            "Gradient retention",
            "",
            "one",
            "Ratio of the mean gradients, reconstruction to original.",
        ),
        (
            "text_contrast",
            "Text contrast",
            "",
            "one",
            "Contrast preserved in the text card's strokes, 8 to 16 pixels high.",
        ),
        ("ocr_errors", "OCR errors", "%", "lower", "Characters of the text card that an OCR network misreads."),
        (
            "distinct_colors",
            "Number of colors",
            "%",
            None,
            "Ratio of the numbers of distinct colors, reconstruction to original.",
        ),
    ),
    *_measures(
        "artefacts",
        ("grid", "Grid", "levels", "lower", "Amplitude of patterns that repeat every 8, 16 or 32 pixels."),
        (
            "grid_flat",
            "Grid on flat colors",
            "levels",
            "lower",
            "RMS of patterns on flat areas that repeat with the VAE's factor.",
        ),
        ("banding", "Levels lost", "%", "lower", "Share of the levels in use that is lost."),
        ("ramp_banding", "Levels lost on ramps", "%", "lower", "Share of the levels that is lost on smooth ramps."),
        ("ringing", "Ringing", "levels", "lower", "Halos beside strong edges: overshoot beyond the local range."),
        (
            "fried_pixels",
            "Fried pixels",
            "per million",
            "lower",
            "Isolated pixels unlike their neighbors and the original.",
        ),
        ("border", "Worst corner or side", "levels", "lower", "How much larger its error is than that of the inside."),
        (
            "droplets",
            "Droplets",
            "per million",
            "lower",
            "Blobs that the original lacks (VIVAT).",
        ),
        ("not_finite", "Non-finite", "%", "lower", "Values that are NaN or infinite."),
    ),
    *_measures(
        "latents",
        ("kl_bits_per_pixel", "KL", "bits per pixel", None, "KL divergence of the posterior from the standard normal."),
        ("latent_noise", "Latent noise", "", "lower", "Share of the latents' power above half the Nyquist frequency."),
        ("latent_mean", "Latent mean", "", "zero", "Channel mean farthest from 0, of normalized latents."),
        ("latent_std", "Latent standard deviation", "", "one", "Over all channels, of normalized latents."),
        ("dead_channels", "Dead channels", "", "lower", "Channels that hardly vary."),
        ("drift_psnr", "Drift over 8 round trips", "dB", "lower", "PSNR lost by eight round trips compared with one."),
        (
            "drift_color",
            "Color drift",
            "levels",
            "lower",
            "Largest mean change of a channel after eight round trips.",
        ),
    ),
    *_measures(
        "cost",
        ("encode_seconds", "Encoding", "s per megapixel", "lower", "On this machine, while measures are computed."),
        ("decode_seconds", "Decoding", "s per megapixel", "lower", "On this machine, while measures are computed."),
        ("peak_memory", "Peak memory", "MiB", "lower", "Predicted for the largest image, without the VAE's weights."),
    ),
)


def measures_in(names: set[str]) -> tuple[Measure, ...]:
    """The measures with these names, in the order of the table."""
    return tuple(measure for measure in MEASURES if measure.name in names)


IMAGES = Subject("image", "images", MEASURES, HEADLINES, ("lpips_alex", "delta_e"))
"""Images, and their measures."""
