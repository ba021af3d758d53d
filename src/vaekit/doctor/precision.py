"""Check half precision: the range of activations in fp16 and bf16, and the error by rounding.

fp16 represents magnitudes up to 65,504; larger values become infinite and images black. bf16 has the range of fp32 and
less precision than fp16: nothing overflows, but rounding is coarser.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaekit.catalog.entries import CatalogEntry
from vaekit.doctor.activations import Activity, Call, calls_in_half, run_rounded
from vaekit.doctor.findings import Finding, Status
from vaekit.doctor.observe import Observation
from vaekit.metrics.image.color import LEVELS_PER_UNIT
from vaekit.vae import at_item_size

FP16_LARGEST = torch.finfo(torch.float16).max
BF16_LARGEST = torch.finfo(torch.bfloat16).max
CLOSE = 4.0
"""The headroom below which there is a warning: activations of other images may be larger by such factors."""
COARSE, FAR_OFF = 2.0, 10.0
"""Mean rounding errors in levels of 255 from which there is a warning, or it is wrong."""
TINY = 1e-30
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
ROUNDED = 2
"""The number of images to run in half precision."""


def check_range(observation: Observation, entry: CatalogEntry | None = None) -> Finding:
    """The largest magnitude in every layer of both halves, compared with the ranges of fp16 and bf16."""
    values: dict[str, object] = {"fp16_holds": FP16_LARGEST}
    messages: list[str] = []
    overflowing: list[str] = []
    least = math.inf
    vae = observation.vae
    halves = (("encoder", vae.encoder, observation.encoding), ("decoder", vae.decoder, observation.decoding))
    for half, network, activity in halves:
        if network is None:
            continue
        value_range = _value_range(network, half, activity, _small_input(observation, half))
        values[half] = vars(value_range)
        least = min(least, value_range.fp16_headroom)
        if value_range.overflows:
            overflowing.append(half)
            messages.append(f"{half} overflows fp16 first at {_where_it_overflows(value_range)}")
        else:
            peak = f"{value_range.largest_at} reaches {value_range.largest:,.4g}"
            messages.append(f"{half} fp16-safe, headroom {_times(value_range.fp16_headroom)} ({peak})")
    status: Status = "wrong" if overflowing else "warning" if least < CLOSE else "ok"
    contradiction = _against_entry(entry, status)
    if contradiction:
        messages.append(contradiction)
        status = "warning" if status == "ok" else status
    message = "; ".join([*messages, "bf16 has sufficient range"])
    return Finding("fp16_range", status, message, values, _range_remedy(status, overflowing))


@dataclass(frozen=True)
class ValueRange:
    """The range of the values of one half."""

    fp16_headroom: float
    """The maximum of fp16 divided by the largest magnitude: below 1 it overflows."""
    bf16_headroom: float
    largest: float
    largest_at: str
    overflows: list[str]
    """Every place whose values or weights exceed the range of fp16, in the order of the run."""
    layers: dict[str, float]
    """The largest magnitude of each place, in the order of the run."""


def _value_range(network: nn.Module, half: str, activity: Mapping[Call, Activity], small: Tensor) -> ValueRange:
    calls = calls_in_half(network, half, small)
    weights = {name: weight.abs().max().item() for name, weight in network.named_parameters(prefix=half)}
    # One place may call a function several times; the calls determine the order.
    held = [(each.place, each.largest if each.finite else math.inf) for call, each in activity.items() if call in calls]
    sizes = [*((name, size) for name, size in weights.items() if size > FP16_LARGEST), *held]
    place, peak = max(sizes, key=lambda each: each[1])
    layers: dict[str, float] = {}
    for name, size in held:
        layers[name] = max(layers.get(name, 0.0), size)
    return ValueRange(
        FP16_LARGEST / max(peak, TINY),
        BF16_LARGEST / max(peak, TINY),
        peak,
        place,
        list(dict.fromkeys(name for name, size in sizes if size > FP16_LARGEST)),
        layers,
    )


def check_rounding(observation: Observation) -> Finding:
    """The error of fp16 and bf16 against fp32: in images in levels of 255; in waveforms, and for an encoder alone in
    its latents, in percent of their standard deviation.

    The outputs of all functions and the weights are rounded (`activations.Rounding`).
    """
    whole = observation.vae.decoder is not None
    exact = observation.decoded if whole else observation.latents
    assert exact is not None
    pixels = whole and not observation.of_sounds
    scale = LEVELS_PER_UNIT if pixels else 100 / max(exact.std().item(), TINY)
    unit = "levels of 255" if pixels else f"% of the {'waveforms' if whole else 'latents'}' standard deviation"
    values: dict[str, object] = {"unit": unit}
    means: dict[str, float] = {}
    messages: list[str] = []
    for name, dtype in DTYPES.items():
        output = _rounded(observation, dtype)
        error = (_clamped(output, whole) - _clamped(exact[:ROUNDED], whole)).abs() * scale
        lost = (~torch.isfinite(output)).double().mean().item()
        means[name] = math.inf if lost else error.mean().item()
        values[name] = {"mean": means[name], "largest": math.inf if lost else error.max().item(), "not_finite": lost}
        off = f"{means[name]:.2f} on average, {error.max().item():.2g} at most"
        messages.append(f"{name} {f'makes {lost:.0%} of the values NaN or infinite' if lost else off}")
    worst = max(means.values())
    status: Status = "ok" if worst < COARSE else "warning" if worst < FAR_OFF else "wrong"
    fine = " or ".join(["fp32", *(name for name, mean in means.items() if mean < COARSE)])
    message = f"error against fp32 in {unit}: {'; '.join(messages)}"
    return Finding("rounding", status, message, values, "" if status == "ok" else f"Run it in {fine} (`--dtype`).")


def _clamped(output: Tensor, whole: bool) -> Tensor:
    return output.clamp(-1, 1) if whole else output


def _rounded(observation: Observation, dtype: torch.dtype) -> Tensor:
    """The first reconstructions, or latents, in half precision; heads compute in fp32."""
    vae = observation.vae
    z = observation.latents[:ROUNDED]
    if vae.encoder is not None and observation.images is not None:
        calls = calls_in_half(vae.encoder, "encoder", _small_input(observation, "encoder"))
        moments = run_rounded(vae.encoder, "encoder", observation.images[:ROUNDED], dtype, calls)
        z = vae.to_posterior(moments).mode
    if vae.decoder is None:
        return z
    calls = calls_in_half(vae.decoder, "decoder", _small_input(observation, "decoder"))
    decoded = vae.to_likelihood(run_rounded(vae.decoder, "decoder", z, dtype, calls)).mode
    return at_item_size(decoded, vae.geometry)


def _small_input(observation: Observation, half: str) -> Tensor:
    """The smallest valid input of a half."""
    geometry = observation.geometry
    positions = 1 if geometry.size is not None else max(2, geometry.least_positions)
    latent_size = (positions,) * geometry.axes
    if half == "decoder":
        return torch.zeros(1, geometry.latent_channels, *latent_size)
    return torch.zeros(1, geometry.channels, *geometry.size_of(latent_size))


def _against_entry(entry: CatalogEntry | None, status: Status) -> str:
    """A phrase if the catalog entry contradicts the check of fp16; else empty."""
    if entry is None or entry.fp16 == "unknown":
        return ""
    if entry.fp16 == "unsafe" and status != "wrong":
        return "its catalog entry states that it overflows on other images"
    return "its catalog entry states that it is safe" if entry.fp16 == "safe" and status == "wrong" else ""


def _where_it_overflows(value_range: ValueRange) -> str:
    first, others = value_range.overflows[0], len(value_range.overflows) - 1
    more = f" and {others} more place{'s' if others > 1 else ''}" if others else ""
    if value_range.largest_at == first:
        return f"{first}, which reaches {value_range.largest:,.0f}{more and f',{more}'}"
    return f"{first}{more}; {value_range.largest_at} reaches {value_range.largest:,.0f}"


def _range_remedy(status: Status, halves: list[str]) -> str:
    if status == "ok":
        return ""
    if status == "warning":
        return "Prefer bf16 or fp32, or check with your own images: `--images DIR`."
    return (
        f"Run the {' and the '.join(halves)} in bf16 or fp32. vaekit recomputes layers that overflow in fp32 "
        "automatically; other programs produce black or NaN images in fp16 (avoid with options such as --no-half-vae)."
    )


def _times(headroom: float) -> str:
    return f"{headroom:,.1f}x" if headroom < CLOSE else f"{headroom:,.0f}x"
