"""How many codes VAEs with residual quantizers encode to, and the rate of these codes."""

import math
from collections.abc import Mapping
from typing import Any

from vaekit.errors import BadPlan
from vaekit.nets.quantizers import ResidualQuantizer
from vaekit.tasks.options import CodingOptions
from vaekit.vae import VAE


def set_coding(vae: VAE, options: CodingOptions) -> None:
    """Set the number of codes at each position to which a VAE encodes, before it is run.

    Raises:
        BadPlan: the VAE does not have as many, or has no residual quantizer.
    """
    if options.codes is None:
        return
    head: object = vae.to_posterior
    if not isinstance(head, ResidualQuantizer):
        raise BadPlan(
            "This VAE has no residual quantizer, whose first codes are a coarser description.",
            "Expected a VAE such as an EnCodec or DAC.",
            "Leave out --codes.",
        )
    if not 1 <= options.codes <= len(head.stages):
        raise BadPlan(f"There are {options.codes:,} codes at each position.", f"Expected 1 to {len(head.stages)}.", "")
    head.use(options.codes)


def coding_notes(vae: VAE, options: CodingOptions, schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The number of codes at each position, if it was chosen, and their rate.

    Args:
        vae: the VAE.
        options: the choice.
        schema: of its items, as plain values; of sounds, with the sample rate in Hz.
    """
    head: object = vae.to_posterior
    if options.codes is None or not isinstance(head, ResidualQuantizer):
        return ()
    note, rate = f"{head.choices} of {len(head.stages)} codes at each position", schema.get("sample_rate")
    bits = head.choices * math.log2(head.size)
    return (f"{note}: {vae.geometry.positions_per(rate) * bits / 1000:.3g} kbit/s" if rate else note,)
