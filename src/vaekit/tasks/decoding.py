"""How VAEs of sequences generate."""

from dataclasses import replace

from vaekit.distributions.sequences import Generates
from vaekit.errors import BadPlan
from vaekit.tasks.options import DecodingOptions
from vaekit.vae import VAE

MOST_BEAMS = 100
"""Sequences that are kept at each step."""


def set_decoding(vae: VAE, options: DecodingOptions) -> None:
    """Set how a VAE generates sequences, before it is run.

    Raises:
        BadPlan: an option is out of range, or the VAE generates no sequences.
    """
    if not 1 <= options.beam <= MOST_BEAMS:
        raise BadPlan(f"There are {options.beam:,} beams.", f"Expected 1 to {MOST_BEAMS}.", "1 is greedy search.")
    if options.beam > 1:
        head = generating_head(vae, "beam search")
        head.decoding = replace(head.decoding, beam=options.beam)


def generating_head(vae: VAE, purpose: str) -> Generates:
    """The likelihood head of a VAE of sequences.

    Args:
        vae: the VAE.
        purpose: what needs it, for the message.

    Raises:
        BadPlan: the VAE generates no sequences.
    """
    head: object = vae.to_likelihood
    if isinstance(head, Generates):
        return head
    raise BadPlan(
        f"This VAE decodes all values at once, and {purpose} is for sequences.",
        "Expected a VAE of sentences or molecules.",
        "Leave out the option.",
    )
