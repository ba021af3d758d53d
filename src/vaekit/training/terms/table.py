"""The terms of objectives by their names in recipes, each a function from settings to a term."""

from collections.abc import Callable, Mapping

from vaekit.training.objectives import Term
from vaekit.training.terms.audio import log_mel, stft
from vaekit.training.terms.bounds import iwae
from vaekit.training.terms.codes import codebook, commitment, entropy
from vaekit.training.terms.images import equivariance, oklab, ssim
from vaekit.training.terms.latents import dimension_kl, mmd, mutual_information, total_correlation
from vaekit.training.terms.plain import kl, l1, lpips, mse, nll
from vaekit.training.terms.tokens import bag_of_tokens

TERMS: Mapping[str, Callable[..., Term]] = {
    "nll": nll,
    "kl": kl,
    "iwae": iwae,
    "mutual_information": mutual_information,
    "total_correlation": total_correlation,
    "dimension_kl": dimension_kl,
    "mmd": mmd,
    "bag_of_tokens": bag_of_tokens,
    "commitment": commitment,
    "codebook": codebook,
    "entropy": entropy,
    "l1": l1,
    "mse": mse,
    "lpips": lpips,
    "ssim": ssim,
    "oklab": oklab,
    "equivariance": equivariance,
    "stft": stft,
    "log_mel": log_mel,
}
