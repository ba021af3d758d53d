"""Files of trained networks of `meaning`: one safetensors file in the folder of an index.

The file has the tensors of the network, which has one architecture for latents of a shape, and in its metadata the
fingerprint of the VAE that it was trained on.
"""

from pathlib import Path

from vaekit.atomic import atomic_file
from vaekit.checkpoints.save import write_tensors
from vaekit.errors import BadCheckpoint, LatentMismatch, NotFound, VaekitError, printable
from vaekit.formats.open import open_tensors
from vaekit.formats.tensor_file import TensorFile
from vaekit.retrieval.head import Head, digest_of
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.meaning import Meaning, new_head

VERSION = "1"
VERSION_KEY, VAE_KEY, DIGEST_KEY = "vaekit.meaning", "vaekit.fingerprint", "vaekit.digest"
RETRAIN = "Train it again: index the data into a new folder."


def save_meaning(meaning: Meaning, path: Path) -> None:
    """Write a trained network atomically.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    metadata = {
        VERSION_KEY: VERSION,
        VAE_KEY: meaning.encoder.origin.fingerprint,
        DIGEST_KEY: digest_of(meaning.head),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in meaning.head.state_dict().items()}
    with atomic_file(path) as temporary:
        write_tensors(tensors, temporary, metadata, path)


def load_meaning(encoder: LatentEncoder, path: Path) -> Meaning:
    """Read a trained network.

    Raises:
        NotFound: there is no such file.
        BadCheckpoint: it is damaged, of another version, or no such file.
        LatentMismatch: it was trained on another VAE.
    """
    file = opened(path)
    version, fingerprint = file.metadata.get(VERSION_KEY), file.metadata.get(VAE_KEY, "")
    if version != VERSION:
        raise damaged(path, f"its version is {printable(str(version), 20)}, and {VERSION} can be read")
    if fingerprint != encoder.origin.fingerprint:
        raise LatentMismatch(
            f"{path} was trained on another VAE ({printable(fingerprint, 10)}) than the given one "
            f"({encoder.origin.fingerprint[:10]}).",
            "Expected the same VAE.",
            "Give the VAE of the index.",
        )
    head = head_from(file, encoder, path)
    if digest_of(head) != file.metadata.get(DIGEST_KEY):
        raise damaged(path, "its values are not those that were written")
    return Meaning(encoder, head)


def opened(path: Path) -> TensorFile:
    """Open the file, of which only the header is read."""
    try:
        file = open_tensors(path)
    except NotFound:
        raise
    except VaekitError as error:
        raise damaged(path, error.found.rstrip(".")) from error
    if file.format != "safetensors":
        raise damaged(path, "it is no safetensors file")
    return file


def head_from(file: TensorFile, encoder: LatentEncoder, path: Path) -> Head:
    """The network with the tensors of the file.

    Raises:
        BadCheckpoint: these are not the tensors of the network for latents of this VAE, or they are not finite.
    """
    shape = encoder.latent_shape()
    if shape is None:
        raise damaged(path, "this VAE has no latents of one size")
    head = new_head(shape, 0)
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in head.state_dict().items()}
    present = {name: (spec.shape, spec.dtype) for name, spec in file.specs.items()}
    if present != expected:
        raise damaged(path, "its tensors are not those of the network")
    tensors = file.read(expected)
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise damaged(path, "it has values that are not finite")
    head.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()})
    return head.eval()


def damaged(path: Path, reason: str) -> BadCheckpoint:
    """The error for a file that cannot be used."""
    return BadCheckpoint(
        f"{path} cannot be used: {reason}.", "Expected the file that `vaekit index --embed meaning` wrote.", RETRAIN
    )
