"""The table of measures: what each number of a report means. Equations and sources stand at the functions."""

from vaekit.comparison.records import Better, Measure

OCTAVES = ("1/4 to 1/2", "1/8 to 1/4", "1/16 to 1/8", "1/32 to 1/16", "1/64 to 1/32")
"""Cycles per pixel; half of Nyquist's frequency is 1/4."""


def _measures(group: str, *lines: tuple[str, str, str, Better | None, str]) -> tuple[Measure, ...]:
    return tuple(
        Measure(name, title, unit, better, group, about, name in HEADLINES)
        for name, title, unit, better, about in lines
    )


HEADLINES = ("psnr", "ms_ssim", "lpips_alex", "delta_e", "detail_1")
"""What the rank is made of: fidelity, structure, likeness to a person, color, and fine detail."""

MEASURES: tuple[Measure, ...] = (
    *_measures(
        "fidelity",
        ("psnr", "PSNR", "dB", "higher", "Peak signal to mean squared error, 8-bit; equal images count as 100 dB."),
        ("ssim", "SSIM", "", "higher", "Structural similarity, Gaussian window of 11 (Wang et al. 2004), mean of RGB."),
        ("ms_ssim", "MS-SSIM", "", "higher", "Structural similarity over up to five scales (Wang et al. 2003)."),
        ("lpips_alex", "LPIPS (alex)", "", "lower", "Distance of AlexNet's features, version 0.1 (Zhang et al. 2018)."),
        ("lpips_vgg", "LPIPS (vgg)", "", "lower", "The same with VGG16."),
    ),
    *_measures(
        "color",
        ("delta_e", "dE2000", "", "lower", "How far colors are off (CIE 142-2001); 1 is just noticeable."),
        ("delta_e_95", "dE2000, 95th percentile", "dE2000", "lower", "The same for all but the worst 5 % of pixels."),
        ("lightness_bias", "Lightness bias", "L*", "zero", "Mean change of L*, 0 to 100."),
        ("chroma_bias", "Chroma bias", "%", "zero", "Change of the distance of colors from gray, in Lab."),
        ("hue_bias", "Hue bias", "degrees", "zero", "Turn of colors in Lab, from red towards yellow."),
        ("white_tint", "Tint of white", "a*b*", "lower", "Change of color of the lightest 5 % of the pixels."),
        ("red_shift", "Red shift", "levels", "zero", "Mean change of red, of 255."),
        ("green_shift", "Green shift", "levels", "zero", "Mean change of green, of 255."),
        ("blue_shift", "Blue shift", "levels", "zero", "Mean change of blue, of 255."),
        ("skin_delta_e", "dE2000 on skin", "dE2000", "lower", "Where colors are those of skin (Chai and Ngan 1999)."),
        ("foliage_delta_e", "dE2000 on foliage", "dE2000", "lower", "Where colors are those of leaves (ExG - ExR)."),
        ("checker_delta_e", "dE2000 on the color checker", "dE2000", "lower", "Mean over its 24 patches' middles."),
    ),
    *_measures(
        "tone",
        ("contrast", "Contrast", "", "one", "Slope of luma after against luma before, of blocks of 8x8."),
        ("brightness", "Brightness", "levels", "zero", "Mean change of luma, of 255."),
        ("white_point", "White point", "levels", "zero", "Change of the 99.5th percentile of luma, of 255."),
        ("black_point", "Black point", "levels", "zero", "Change of the 0.5th percentile of luma, of 255."),
        ("highlights_clipped", "Highlights clipped", "%", "lower", "Pixels at 255 in a channel that were not before."),
        ("shadows_clipped", "Shadows clipped", "%", "lower", "Pixels at 0 in a channel that were not before."),
        (
            "contrast_gain",
            "Contrast gain",
            "",
            "one",
            "Standard deviation of luma, after over before; the community's.",
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
                f"Of the original's own detail between {octave} cycles per pixel: amplitude that came back.",
            )
            for number, octave in enumerate(OCTAVES, start=1)
        ),
        (
            "power_1",
            "Power, 1/4 to 1/2",
            "",
            "one",
            "Power of the finest detail, painted anew or not, after over before.",
        ),
        ("edge_sharpness", "Edge sharpness", "", "one", "Gradient at the strongest edges, after over before."),
        (
            "mtf50",
            "Sharpness of slanted edges",
            "",
            "one",
            "Frequency of half contrast (ISO 12233), after over before.",
        ),
        ("gradient_retention", "Gradient retention", "", "one", "Mean gradient, after over before; the community's."),
        ("text_contrast", "Text contrast", "", "one", "Strokes of the text card, 8 to 16 pixels high: contrast kept."),
        ("ocr_errors", "OCR errors", "%", "lower", "Characters of the text card that an OCR network reads otherwise."),
        ("distinct_colors", "Number of colors", "%", None, "Different colors, after over before; the community's."),
    ),
    *_measures(
        "artefacts",
        ("grid", "Grid", "levels", "lower", "Amplitude of what repeats every 8, 16 or 32 pixels, of 255."),
        (
            "grid_flat",
            "Grid on flat colors",
            "levels",
            "lower",
            "Root mean square of what repeats there with the VAE's factor.",
        ),
        ("banding", "Levels lost", "%", "lower", "Levels of the range that are in use no more."),
        ("ramp_banding", "Levels lost on ramps", "%", "lower", "The same on smooth ramps."),
        ("ringing", "Ringing", "levels", "lower", "Halos beside strong edges: beyond the range nearby, of 255."),
        (
            "fried_pixels",
            "Fried pixels",
            "per million",
            "lower",
            "Pixels that stand out of all around and the original.",
        ),
        ("border", "Worst corner or side", "levels", "lower", "Its error beyond that of the inside, of 255."),
        (
            "droplets",
            "Droplets",
            "per million",
            "lower",
            "Blobs that the original has not (VIVAT), per million pixels.",
        ),
        ("not_finite", "Not finite", "%", "lower", "Values that are NaN or infinite."),
    ),
    *_measures(
        "latents",
        ("kl_bits_per_pixel", "KL", "bits per pixel", None, "What the latent may tell, under the standard normal."),
        ("latent_noise", "Latent noise", "", "lower", "Share of the latent's power above half of Nyquist's frequency."),
        (
            "latent_mean",
            "Latent mean",
            "",
            "zero",
            "The channel mean farthest from 0, of normalized latents.",
        ),
        ("latent_std", "Latent deviation", "", "one", "Over all channels, of normalized latents."),
        ("dead_channels", "Dead channels", "", "lower", "Channels that hardly vary."),
        ("drift_psnr", "Drift over 8 passes", "dB", "lower", "PSNR that eight round trips lose against one."),
        ("drift_color", "Color drift", "levels", "lower", "Largest mean change of a channel after eight passes."),
    ),
    *_measures(
        "cost",
        ("encode_seconds", "Encoding", "s per megapixel", "lower", "On this machine, beside the measuring."),
        ("decode_seconds", "Decoding", "s per megapixel", "lower", "On this machine, beside the measuring."),
        ("peak_memory", "Peak memory", "MiB", "lower", "Expected for the largest image, beside the VAE itself."),
    ),
)


def measures_in(names: set[str]) -> tuple[Measure, ...]:
    """Those of the table that were measured, in its order."""
    return tuple(measure for measure in MEASURES if measure.name in names)


def badness(value: float, better: Better | None) -> float:
    """How far a value is from the best: smaller is better."""
    match better:
        case "higher":
            return -value
        case "zero":
            return abs(value)
        case "one":
            return abs(value - 1)
        case _:
            return value
