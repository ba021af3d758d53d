"""A name, or a VAE, -> its domain."""

from vaekit.domains.domain import Domain, Schema
from vaekit.domains.images.domain import IMAGES
from vaekit.domains.molecules.domain import MOLECULES
from vaekit.domains.music.domain import MUSIC
from vaekit.domains.tables.domain import TABLES
from vaekit.domains.text.domain import TEXT
from vaekit.errors import UnknownDomain, printable
from vaekit.vae import VAE

ALL: tuple[Domain, ...] = (IMAGES, TABLES, TEXT, MOLECULES, MUSIC)


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
    of another program, is of images.

    Raises:
        UnknownDomain: the file names another domain.
        BadCheckpoint: its schema is damaged.
        BadItem: it names no domain, and takes no images.
    """
    origin = vae.origin
    domain = domain_named(origin.domain) if origin is not None and origin.domain else IMAGES
    return domain, domain.schema_from(origin.schema if origin is not None else {}, vae.config)
