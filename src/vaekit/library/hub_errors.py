"""What can go wrong between us and the Hub, each told in one clear paragraph."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vaekit.errors import CannotFetch, CannotPush, VaekitError, printable

UNAUTHORISED, FORBIDDEN, NOT_FOUND, TOO_MANY, SERVER_TROUBLE = 401, 403, 404, 429, 500
NETWORK_LIBRARIES = {
    "httpx2": ("HTTPError", "InvalidURL"),
    "httpx": ("HTTPError", "InvalidURL"),
    "requests": ("RequestException",),
}
"""What huggingface_hub has used underneath, and what each raises."""


def transport_errors() -> tuple[type[Exception], ...]:
    """What is raised when there is no connection, or it breaks."""
    loaded = {name: sys.modules[name] for name in NETWORK_LIBRARIES if name in sys.modules}
    return (OSError, *(getattr(module, error) for name, module in loaded.items() for error in NETWORK_LIBRARIES[name]))


@contextmanager
def download_errors(repo: str, path: str) -> Iterator[None]:
    """Make one `CannotFetch` of whatever the Hub, the network or its library has to say.

    Args:
        repo: the repository that is asked for.
        path: the file in it; empty for the repository itself.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise _offline(repo, path) from error
    except HfHubHTTPError as error:
        raise _refused(repo, path, error) from error
    except HFValidationError as error:
        raise CannotFetch(
            f"{printable(repo)!r} is no name of a repository: {printable(str(error))}.",
            "Expected owner/name.",
            "Look its name up on the Hub.",
        ) from error
    except transport_errors() as error:
        raise _unreachable(error) from error


@contextmanager
def upload_errors(repo: str) -> Iterator[None]:
    """Make one `CannotPush` of whatever the Hub, the network or its library has to say to an upload.

    Args:
        repo: the repository that is written to.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise CannotPush(
            f"HF_HUB_OFFLINE forbids sending anything to {_what(repo, '')}.", "", "Unset HF_HUB_OFFLINE."
        ) from error
    except HfHubHTTPError as error:
        raise _write_refused(repo, error) from error
    except HFValidationError as error:
        raise CannotPush(
            f"{printable(repo)!r} is no name of a repository: {printable(str(error))}.", "Expected owner/name.", ""
        ) from error
    except transport_errors() as error:
        raise _not_sent(error) from error
    except (RuntimeError, ValueError) as error:  # its own words for a file that did not arrive
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        if isinstance(cause, HfHubHTTPError):
            raise _write_refused(repo, cause) from error
        raise _not_sent(cause) from error


def _write_refused(repo: str, error: Any) -> VaekitError:
    """The Hub answered an upload, and said no."""
    status = error.response.status_code
    said = printable(
        error.response.headers.get("x-error-message", "") or getattr(error, "server_message", "") or "", 200
    )
    answer = f"{status}: {said.rstrip('.')}" if said else f"status {status}"
    name, tokens = printable(repo), f"{_endpoint()}/settings/tokens"
    if status == UNAUTHORISED:
        return CannotPush(
            f"{_endpoint()} does not know the token that was sent for {name} ({answer}).",
            "Expected a token that may write.",
            f"Make one at {tokens}; give it in HF_TOKEN, or run `hf auth login`.",
        )
    if status == FORBIDDEN:
        return CannotPush(
            f"The token that was sent may not write to {name} ({answer}).",
            "Expected one with permission to write there.",
            f"Look at {tokens}, or push to a repository of your own.",
        )
    if status == NOT_FOUND:
        return CannotPush(
            f"There is no {name} at {_endpoint()} that this token may write to ({answer}).",
            "",
            "Check the owner's name: the repository itself is made, its owner is not.",
        )
    if status >= SERVER_TROUBLE or status == TOO_MANY:
        return CannotPush(
            f"{_endpoint()} is in trouble or has too much to do ({answer}).", "", "Run the command again in a while."
        )
    return CannotPush(f"{_endpoint()} refused what was sent to {name} ({answer}).", "", "")


def _not_sent(error: Exception) -> CannotPush:
    return CannotPush(
        f"{_endpoint()} cannot be reached, or the connection broke ({reason(error)}).",
        "",
        "Check the network, the proxy and HF_ENDPOINT, and run the command again: what has arrived is not sent twice.",
    )


def broken(address: str, have: int, total: int, error: Exception) -> CannotFetch:
    """The connection broke too often."""
    arrived = f"{have:,} of {total:,} bytes" if total else f"{have:,} bytes"
    return CannotFetch(
        f"The connection broke again and again while {address} was fetched; {arrived} came ({reason(error)}).",
        "",
        "What came is kept: the same command goes on from there.",
    )


def reason(error: Exception) -> str:
    """What a network library says, in one line."""
    text = printable(str(error), 200)
    return text or type(error).__name__


def _offline(repo: str, path: str) -> CannotFetch:
    return CannotFetch(
        f"{_what(repo, path)} is not here, and HF_HUB_OFFLINE forbids asking the Hub.",
        "",
        "Unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE), or fetch the file on another machine and put it into a "
        f"models folder: {_page(repo, path)}",
    )


def _refused(repo: str, path: str, error: Any) -> CannotFetch:
    """The Hub answered, and said no."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    status = error.response.status_code
    said = printable(error.response.headers.get("x-error-message", ""), 200).rstrip(".")
    answer = f"{status}: {said}" if said else f"status {status}"
    what = _what(repo, path)
    if isinstance(error, GatedRepoError) or status in (UNAUTHORISED, FORBIDDEN):
        return _no_access(repo, what, answer, gated=isinstance(error, GatedRepoError) or status == FORBIDDEN)
    if isinstance(error, RepositoryNotFoundError) or status == NOT_FOUND:
        return CannotFetch(
            f"There is no {what} at {_endpoint()} ({answer}).",
            "",
            f"It may have been moved or renamed; look at {_endpoint()}/{printable(repo)}.",
        )
    if status >= SERVER_TROUBLE or status == TOO_MANY:
        return CannotFetch(
            f"{_endpoint()} is in trouble or has too much to do ({answer}).",
            "",
            "Run the command again in a while; what has come is kept.",
        )
    return CannotFetch(f"{_endpoint()} refused {what} ({answer}).", "", f"Look at {_page(repo, path)}")


def _no_access(repo: str, what: str, answer: str, gated: bool) -> CannotFetch:
    from huggingface_hub import get_token

    home = f"{_endpoint()}/{printable(repo)}"
    why = "is gated: its owners want its terms accepted first" if gated else "is gated, private, or not there"
    token = "a token without access was sent" if get_token() else "no token was sent"
    return CannotFetch(
        f"{what} {why} ({answer}; {token}).",
        "",
        f"Log in at {home} and accept the terms there; make a token at {_endpoint()}/settings/tokens; give it in "
        "HF_TOKEN, or run `hf auth login`; then run this command again.",
    )


def _unreachable(error: Exception) -> CannotFetch:
    return CannotFetch(
        f"{_endpoint()} cannot be reached ({reason(error)}).",
        "",
        "Check the network, the proxy and HF_ENDPOINT, and run the command again; what has come is kept.",
    )


def _what(repo: str, path: str) -> str:
    return printable(f"{repo}/{path}" if path else repo)


def _page(repo: str, path: str) -> str:
    """Where a person finds a file with a browser."""
    return printable(f"{_endpoint()}/{repo}/blob/main/{path}" if path else f"{_endpoint()}/{repo}", 300)


def _endpoint() -> str:
    """The Hub's address, `$HF_ENDPOINT` where that is set."""
    from huggingface_hub import constants

    return constants.ENDPOINT
