"""The built-in test cards as images, for people who have no image at hand."""

from starlette.requests import Request
from starlette.responses import Response

from vaekit.serve.image_bytes import PNG, image_bytes
from vaekit.serve.refusals import NOT_FOUND, Refusal, json_response
from vaekit.serve.service import Service
from vaekit.testcards.cards import Card, cards

SIZE = (384, 512)
"""Rows and columns."""


async def list_cards(_service: Service, _request: Request) -> Response:
    """The names of the cards, and what each tests."""
    return json_response({"cards": [{"name": name_of(card), "about": card.about} for card in cards()]})


async def card_image(service: Service, request: Request) -> Response:
    """One card as a PNG."""
    found = next((card for card in cards() if name_of(card) == request.path_params["card"]), None)
    if found is None:
        raise Refusal(NOT_FOUND, "unknown_card", "There is no test card of that name; GET /api/cards lists them.")
    content, media_type = await service.convert(lambda: image_bytes(found.draw(SIZE), PNG))
    return Response(content, media_type=media_type)


def name_of(card: Card) -> str:
    """A name for URLs.

    >>> [name_of(card) for card in cards()][:2]
    ['text', 'color-checker']
    """
    return card.name.replace(",", "").replace(" ", "-")
