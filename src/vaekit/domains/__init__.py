"""Kinds of data: images, tables, text. Everything above asks a domain, and does not distinguish them itself."""

from typing import TYPE_CHECKING

from vaekit.errors import UnknownDomain, printable

if TYPE_CHECKING:
    from vaekit.domains.domain import Domain

DOMAINS = ("images", "tables", "text")
"""Their names, which are those of their packages."""
DEFAULT = "images"
"""The domain of VAE files that name none: those of other programs, and of the first edition."""


def domain_named(name: str) -> "Domain":
    """A domain, imported when it is asked for.

    Raises:
        UnknownDomain: there is none of this name.
    """
    from vaekit.domains.images.domain import IMAGES
    from vaekit.domains.tables.domain import TABLES
    from vaekit.domains.text.domain import TEXT

    found: dict[str, Domain] = {domain.name: domain for domain in (IMAGES, TABLES, TEXT)}
    if name not in found:
        raise UnknownDomain(
            f"There is no domain {printable(repr(name))}.",
            f"vaekit knows {', '.join(DOMAINS)}.",
            "A newer version of vaekit may know it.",
        )
    return found[name]
