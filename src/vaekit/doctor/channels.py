"""Check that every latent channel carries information and that the decoder uses it."""

import torch
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, Quantized
from vaekit.distributions.mixed import GaussianAndCategoricals
from vaekit.doctor.findings import Finding, Status, skipped
from vaekit.doctor.observe import Observation

DEAD, FAINT = 1e-3, 0.05
"""A channel's deviation against the median of all: below the first it is dead, below the second faint. Of TAESD,
TAESD3, TAEF2, TAESANA and the built-in VAE the least is 0.7."""
COLLAPSED = 0.01
"""KL in nats for each position below which a channel says nothing: the posterior is the prior (active units: Burda,
Grosse, Salakhutdinov 2016, arXiv 1509.00519, section 5.3 use the same number for the variance of the mean)."""
DOMINANT = 0.8
"""Share of the variance of all channels from which on one of them dominates."""
IGNORED = 1e-4
"""Of the median effect on the image: below it the decoder does not read a channel."""
LOOKED_AT = 8
"""Latent positions a side that the decoder's use of channels is looked at with."""


def check_channels(observation: Observation) -> Finding:
    """Spread and KL of each channel over the images, and how much the decoder's image depends on it."""
    latents = observation.latents
    if observation.one_size:
        return _of_vector(observation)
    spread = latents.transpose(0, 1).flatten(1).std(dim=1)
    share = spread.square() / spread.square().sum().clamp_min(1e-30)
    used = channel_effects(observation, spread)
    numbers: dict[str, object] = {"stds": spread.tolist(), "variance_shares": share.tolist(), "effects": used}
    kl = channel_kl(observation)
    numbers["kl_nats_per_position"] = kl
    if isinstance(observation.posterior, Quantized):
        numbers["codes_used"] = len(observation.posterior.codes.unique())
    said_by_encoder = observation.posterior is not None
    relative = spread / spread.median().clamp_min(1e-30)
    dead = _where(relative < DEAD) if said_by_encoder else []
    collapsed = [c for c, nats in enumerate(kl or ()) if nats < COLLAPSED and c not in dead]
    faint = [c for c in _where(relative < FAINT) if c not in dead and c not in collapsed] if said_by_encoder else []
    # A channel that the encoder leaves empty has no effect to judge by.
    live = [c for c in range(len(spread)) if c not in dead]
    middle = float(torch.tensor([used[c] for c in live]).median()) if used and live else 0.0
    ignored = [c for c in live if used[c] <= IGNORED * middle] if used else []
    numbers |= {"dead": dead, "collapsed": collapsed, "faint": faint, "ignored_by_decoder": ignored}
    return _of_map(numbers, spread, share, said_by_encoder)


def _of_map(numbers: dict[str, object], spread: Tensor, share: Tensor, said_by_encoder: bool) -> Finding:
    """The verdict on a latent map."""
    count = len(spread)
    faults = {
        "the encoder's output is constant in": numbers["dead"],
        "the decoder ignores": numbers["ignored_by_decoder"],
    }
    doubts = {
        "the posterior is uninformative (KL near 0) in": numbers["collapsed"],
        "much smaller than the others:": numbers["faint"],
    }
    told = [f"{what} {_channels(which)}" for what, which in (faults | doubts).items() if which]
    top = int(share.argmax())
    dominates = said_by_encoder and count > 1 and share[top].item() > DOMINANT
    if dominates:
        told.append(f"channel {top} has {share[top].item():.0%} of the variance")
    status: Status = "wrong" if any(faults.values()) else "warning" if told else "ok"
    if status == "ok":
        low, high = spread.min().item(), spread.max().item()
        if not said_by_encoder:
            return Finding("channels", "ok", f"the decoder uses all {count} channels", numbers)
        largest = f"the largest share of the variance is {share[top].item():.0%}" if count > 1 else ""
        words = f"all {count} channels are active: std {low:.2g} to {high:.2g}; {largest}".removesuffix("; ")
        return Finding("channels", "ok", words, numbers)
    remedy = (
        "The VAE was trained with empty channels, or its weights are damaged: compare with another copy."
        if status == "wrong"
        else "Normalize each channel by its own mean and standard deviation, or fine-tune with a lower KL weight."
    )
    return Finding("channels", status, "; ".join(told), numbers, remedy)


def _of_vector(observation: Observation) -> Finding:
    """The verdict on one vector: the KL term turns numbers off that a small data set does not need. Choices are left
    out: a category that no image shows is none that is dead."""
    kl = channel_kl(observation)
    if kl is None:
        return skipped("channels", "latent usage is only known for encoders with Gaussian posteriors")
    silent = [c for c, nats in enumerate(kl) if nats < COLLAPSED]
    numbers = {"kl_nats_per_position": kl, "collapsed": silent}
    words = f"{len(kl) - len(silent)} of {len(kl)} latent values are in use"
    if not silent:
        return Finding("channels", "ok", words, numbers)
    told = f"{words}; {_channels(silent)} are uninformative (KL near 0)"
    if len(silent) < len(kl):
        return Finding("channels", "ok", f"{told}, as expected from a KL term if the data do not need them", numbers)
    remedy = "The posterior has collapsed: train with a lower KL weight, free bits, or KL warm-up."
    return Finding("channels", "wrong", told, numbers, remedy)


def channel_kl(observation: Observation) -> list[float] | None:
    """KL of each channel to N(0, 1), in nats for each position; None where the posterior is no Gaussian.

    KL_c = mean over images and positions of (mean^2 + variance - 1 - ln variance) / 2
    """
    posterior = observation.posterior
    if isinstance(posterior, GaussianAndCategoricals):
        posterior = posterior.gaussian
    if not isinstance(posterior, DiagonalGaussian):
        return None
    mean, log_variance = posterior.mean.double(), posterior.log_variance.double()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    return kl.mean(dim=(0, 2, 3)).tolist()


def channel_effects(observation: Observation, spread: Tensor) -> list[float]:
    """How much the decoded image moves with each channel, in parts of the largest; empty without a decoder.

    The root mean square of the gradient of a random projection of the image, times the channel's deviation: the
    first-order effect of all channels in one backward pass, on a piece of one latent.
    """
    if observation.vae.decoder is None:
        return []
    z = observation.latents[:1, :, :LOOKED_AT, :LOOKED_AT].clone()
    with torch.enable_grad():
        z.requires_grad_()
        parameters = observation.vae.decoder(z)
        projection = torch.randn(parameters.shape, generator=torch.Generator().manual_seed(0))
        (gradient,) = torch.autograd.grad((parameters * projection).sum(), z)
    effects = gradient.square().mean(dim=(0, 2, 3)).sqrt() * spread
    return (effects / effects.max().clamp_min(1e-30)).tolist()


def _where(chosen: Tensor) -> list[int]:
    return chosen.nonzero().flatten().tolist()


def _channels(which: object) -> str:
    """Channels by their numbers."""
    assert isinstance(which, list)
    numbers = ", ".join(str(c) for c in which[:8]) + (f" and {len(which) - 8} more" if len(which) > 8 else "")
    return f"channel{'s' if len(which) > 1 else ''} {numbers}"
