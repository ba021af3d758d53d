"""Vectors of texts by a CLIP text model in a local folder, which is not trained (Radford et al. 2021, arXiv
2103.00020). Nothing is downloaded."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import BadCheckpoint, BadPlan, NotFound, printable, reason_of
from vaekit.optional import require
from vaekit.reading import exists, open_file

BATCH = 32
IN_MEMORY = 2**31
"""The maximum size of the vectors of all captions, in bytes."""
SUBFOLDERS = ("", "text_encoder")
TOKENIZERS = ("", "tokenizer")
"""Where text models and tokenizers are in a folder: in itself, or as in pipelines of diffusers."""


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A text model with its tokenizer."""

    folder: Path
    model: Any
    tokenizer: Any
    digest: str
    """SHA-256 of its weights."""

    @property
    def facts(self) -> dict[str, Any]:
        """Its description in a model's file."""
        return {"encoder": str(self.folder), "digest": self.digest}

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], progress: Callable[[int, int], None] = lambda *_: None) -> Tensor:
        """The last states of texts in half precision, (b, tokens, width), cut after the longest text; zeros behind the
        end of each. An empty text is all zeros: no condition.

        Raises:
            BadPlan: they do not fit into memory.
        """
        found: list[Tensor] = []
        for start in range(0, len(texts), BATCH):
            part = list(texts[start : start + BATCH])
            tokens = self.tokenizer(part, padding="max_length", truncation=True, return_tensors="pt")
            states = self.model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
            there = tokens.attention_mask.bool() & torch.tensor([bool(text) for text in part])[:, None]
            found.append((states * there.unsqueeze(2)).half())
            if start == 0 and found[0][0].nbytes * len(texts) > IN_MEMORY:
                raise BadPlan(
                    f"The vectors of {len(texts):,} different captions take more than {IN_MEMORY / 2**30:.0f} GiB.",
                    "Expected fewer or shorter captions.",
                    'Train a caption encoder instead: --set diffusion.condition.kind="captions".',
                )
            progress(min(start + BATCH, len(texts)), len(texts))
        vectors = torch.cat(found)
        longest = max(1, int(vectors.any(dim=2).sum(dim=1).max()))
        return vectors[:, :longest].clone()


def open_text_encoder(folder: Path) -> TextEncoder:
    """Load a CLIP text model.

    Raises:
        NotFound: there is no such folder, or it has no text model.
        BadCheckpoint: it cannot be loaded.
        MissingPackage: `transformers` is not installed.
    """
    models = [folder / name for name in SUBFOLDERS if exists(folder / name / "config.json")]
    tokenizers = [folder / name for name in TOKENIZERS if exists(folder / name / "tokenizer_config.json")]
    if not models or not tokenizers:
        raise NotFound(
            f"{printable(str(folder))} holds no text model with a tokenizer.",
            "Expected a folder with config.json, model.safetensors and the files of the tokenizer.",
            "Give the folder of a CLIP text model: --set diffusion.condition.encoder=FOLDER.",
        )
    transformers = require("transformers", "run a CLIP text model", "diffusers")
    weights = next((path for path in sorted(models[0].glob("*.safetensors"))), None)
    if weights is None:
        raise NotFound(
            f"{printable(str(models[0]))} holds no weights in safetensors.",
            "Expected model.safetensors.",
            "Convert the weights; pickled ones are not loaded.",
        )
    try:
        model = transformers.CLIPTextModel.from_pretrained(models[0], local_files_only=True, use_safetensors=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizers[0], local_files_only=True)
    except Exception as error:  # transformers raises those of any kind for damaged files
        raise BadCheckpoint(
            f"The text model in {printable(str(folder))} cannot be loaded: {printable(reason_of(error), 300)}.",
            "Expected a CLIP text model of transformers.",
            "Download it again.",
        ) from error
    with open_file(weights) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return TextEncoder(folder, model.eval().requires_grad_(False), tokenizer, digest)


def reopened_encoder(facts: Mapping[str, Any]) -> TextEncoder:
    """The text encoder of a trained model.

    Args:
        facts: as in `TextEncoder.facts`.

    Raises:
        BadPlan: it is not there any more, or has other weights.
        BadCheckpoint, MissingPackage: see `open_text_encoder`.
    """
    folder = Path(str(facts.get("encoder", "")))
    remedy = "Put the text model there again, or generate without a prompt."
    try:
        encoder = open_text_encoder(folder)
    except NotFound as error:
        raise BadPlan(
            f"The prompt needs the text encoder that the model was trained with, {printable(str(folder))}.",
            error.found,
            remedy,
        ) from error
    if encoder.digest != facts.get("digest"):
        raise BadPlan(
            f"The text encoder in {printable(str(folder))} has other weights than the one of the training.",
            f"Expected weights with the SHA-256 {printable(str(facts.get('digest')))}.",
            remedy,
        )
    return encoder
