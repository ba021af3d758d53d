"""The offered VAEs: a list of them, and what is known about each."""

from collections import defaultdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from vaekit.checkpoints.save import LAYOUT_NAMES, writes
from vaekit.domains.find import domain_named
from vaekit.families import family_of
from vaekit.json import plain
from vaekit.serve.offer import OfferedVAE
from vaekit.serve.public_text import public
from vaekit.serve.refusals import json_response
from vaekit.serve.remote_vae import vae_name
from vaekit.serve.service import Service

SHOWN = (
    *("family", "candidate_models", "used_by", "layout", "format", "halves", "latent_channels", "factor", "geometry"),
    *("compression", "normalization", "normalization_source", "padding_source", "parameters", "dtypes"),
    *("quantization", "fingerprint", "sha256", "catalog_entry", "recognized", "fp16", "problems", "domain"),
)
"""Facts of an inspection that are sent: none that name files of this machine."""


async def list_vaes(service: Service, _request: Request) -> Response:
    """The offered VAEs of images and of other data, and what else is in the models folders."""
    offer = service.offer
    alike: dict[str, list[str]] = defaultdict(list)
    for vae in offer:
        alike[vae.fingerprint or vae.name].append(vae.name)
    vaes = [
        {
            **summary(vae),
            "default": vae is offer.default,
            "duplicates": [name for name in alike[vae.fingerprint or vae.name] if name != vae.name],
        }
        for vae in offer
    ]
    unusable = [{"name": one.name, "reason": public(one.reason, one.path)} for one in offer.unusable]
    others = [{**summary(vae), "texts": domain_named(vae.facts["domain"]).is_text} for vae in offer.others]
    return json_response({"vaes": vaes, "others": others, "unusable": unusable})


async def list_models(service: Service, _request: Request) -> Response:
    """The offered VAEs in the form of OpenAI's list of models."""
    models = [{"id": vae.name, "object": "model", "owned_by": "vaekit"} for vae in service.offer]
    return json_response({"object": "list", "data": models})


async def inspect(service: Service, request: Request) -> Response:
    """What is known about one VAE."""
    return json_response(summary(service.offer.find_any(vae_name(request))))


def summary(vae: OfferedVAE) -> dict[str, Any]:
    """The facts about a VAE that are sent."""
    facts = {name: vae.facts[name] for name in SHOWN}
    family = family_of(vae.facts["family"])
    layouts = [name for name in LAYOUT_NAMES if writes(name, family)]
    return {"name": vae.name, "bytes": vae.bytes, "layouts": layouts, **public(plain(facts), vae.path)}
