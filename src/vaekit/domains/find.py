"""A name, or a VAE, -> its domain."""

from vaekit.audio_format import AudioFormat
from vaekit.domains.audio.domain import AUDIO
from vaekit.domains.audio.schema import schema_of
from vaekit.domains.domain import Domain, Schema
from vaekit.domains.images.domain import IMAGES
from vaekit.domains.molecules.domain import MOLECULES
from vaekit.domains.music.domain import MUSIC
from vaekit.domains.tables.domain import TABLES
from vaekit.domains.text.domain import TEXT
from vaekit.errors import UnknownDomain, printable
from vaekit.families import family_with
from vaekit.vae import VAE

ALL: tuple[Domain, ...] = (IMAGES, TABLES, TEXT, MOLECULES, MUSIC, AUDIO)


def domain_named(name: str) -> Domain:
    """The domain of this name.

    Raises:
        UnknownDomain: there is none.
    """
    for domain in ALL:
        if domain.name == name:
            return domain
    raise UnknownDomain(
        f"There is no domain {printable(repr(name))}.",
        f"vaekit knows {', '.join(domain.name for domain in ALL)}.",
        "A newer version of vaekit may know it.",
    )


def domain_of(vae: VAE) -> tuple[Domain, Schema]:
    """The domain of a VAE, and the schema of its items: as its file has them. A file that names no domain, such as one
    of another program, is of waveforms if its family is, else of images.

    Raises:
        UnknownDomain: the file names another domain.
        BadCheckpoint: its schema is damaged.
        BadItem: it names no domain, and takes no images.
    """
    origin = vae.origin
    waveforms = audio_format_of(vae)
    if waveforms is not None and (origin is None or not origin.domain):
        return AUDIO, AUDIO.schema_from(schema_of(waveforms).as_plain(), vae.config)
    domain = domain_named(origin.domain) if origin is not None and origin.domain else IMAGES
    return domain, domain.schema_from(origin.schema if origin is not None else {}, vae.config)


def audio_format_of(vae: VAE) -> AudioFormat | None:
    """The format of the waveforms that a VAE of another program takes; None if it takes others."""
    family = family_with(vae.config)
    return None if family is None else family.audio(vae.config)
