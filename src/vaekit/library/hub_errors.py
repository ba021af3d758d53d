"""Convert errors of the Hub, the network and huggingface_hub into `CannotFetch` and `CannotPush`."""

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
"""The HTTP libraries that huggingface_hub has used, with their base exceptions."""


def transport_errors() -> tuple[type[Exception], ...]:
    """The exceptions of missing or broken connections."""
    loaded = {name: sys.modules[name] for name in NETWORK_LIBRARIES if name in sys.modules}
    return (OSError, *(getattr(module, error) for name, module in loaded.items() for error in NETWORK_LIBRARIES[name]))


@contextmanager
def download_errors(repo: str, path: str) -> Iterator[None]:
    """Convert errors of a download into `CannotFetch`.

    Args:
        repo: the requested repository.
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
            f"{printable(repo)!r} is not a valid repository name: {printable(str(error))}.",
            "Expected owner/name.",
            "Check its name on the Hub.",
        ) from error
    except transport_errors() as error:
        raise _unreachable(error) from error


@contextmanager
def upload_errors(repo: str) -> Iterator[None]:
    """Convert errors of an upload into `CannotPush`.

    Args:
        repo: the repository that is written to.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise CannotPush(
            f"HF_HUB_OFFLINE forbids uploading to {_what(repo, '')}.", "", "Unset HF_HUB_OFFLINE."
        ) from error
    except HfHubHTTPError as error:
        raise _write_refused(repo, error) from error
    except HFValidationError as error:
        raise CannotPush(
            f"{printable(repo)!r} is not a valid repository name: {printable(str(error))}.", "Expected owner/name.", ""
        ) from error
    except transport_errors() as error:
        raise _not_sent(error) from error
    except (RuntimeError, ValueError) as error:  # raised by huggingface_hub for a failed upload
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        if isinstance(cause, HfHubHTTPError):
            raise _write_refused(repo, cause) from error
        raise _not_sent(cause) from error


def _write_refused(repo: str, error: Any) -> VaekitError:
    """The error for an upload that the Hub rejected."""
    status = error.response.status_code
    message = printable(
        error.response.headers.get("x-error-message", "") or getattr(error, "server_message", "") or "", 200
    )
    answer = f"{status}: {message.rstrip('.')}" if message else f"status {status}"
    name, tokens = printable(repo), f"{_endpoint()}/settings/tokens"
    if status == UNAUTHORISED:
        return CannotPush(
            f"{_endpoint()} did not accept the token for {name} ({answer}).",
            "Expected a token with write access.",
            f"Create one at {tokens}; pass it in HF_TOKEN, or run `hf auth login`.",
        )
    if status == FORBIDDEN:
        return CannotPush(
            f"The token has no write access to {name} ({answer}).",
            "Expected a token with write access.",
            f"Check {tokens}, or upload to a repository of your own.",
        )
    if status == NOT_FOUND:
        return CannotPush(
            f"There is no {name} at {_endpoint()} that this token can write to ({answer}).",
            "",
            "Check the owner's name: vaekit creates the repository, but not its owner.",
        )
    if status >= SERVER_TROUBLE or status == TOO_MANY:
        return CannotPush(
            f"{_endpoint()} has a server problem or is overloaded ({answer}).", "", "Run the command again later."
        )
    return CannotPush(f"{_endpoint()} rejected the upload to {name} ({answer}).", "", "")


def _not_sent(error: Exception) -> CannotPush:
    return CannotPush(
        f"{_endpoint()} cannot be reached, or the connection broke ({reason(error)}).",
        "",
        "Check the network, the proxy and HF_ENDPOINT, and run the command again: uploaded data is not sent twice.",
    )


def broken(address: str, have: int, total: int, error: Exception) -> CannotFetch:
    """The error for a connection that broke too often."""
    arrived = f"{have:,} of {total:,} bytes" if total else f"{have:,} bytes"
    return CannotFetch(
        f"The connection broke repeatedly while downloading {address}; {arrived} were received ({reason(error)}).",
        "",
        "Received data is kept: the same command resumes the download.",
    )


def reason(error: Exception) -> str:
    """The message of a network error, in one line."""
    text = printable(str(error), 200)
    return text or type(error).__name__


def _offline(repo: str, path: str) -> CannotFetch:
    return CannotFetch(
        f"{_what(repo, path)} is not available locally, and HF_HUB_OFFLINE forbids network access.",
        "",
        "Unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE), or download the file on another machine and put it into a "
        f"models folder: {_page(repo, path)}",
    )


def _refused(repo: str, path: str, error: Any) -> CannotFetch:
    """The error for a request that the Hub rejected."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    status = error.response.status_code
    message = printable(error.response.headers.get("x-error-message", ""), 200).rstrip(".")
    answer = f"{status}: {message}" if message else f"status {status}"
    what = _what(repo, path)
    if isinstance(error, GatedRepoError) or status in (UNAUTHORISED, FORBIDDEN):
        return _no_access(repo, what, answer, gated=isinstance(error, GatedRepoError) or status == FORBIDDEN)
    if isinstance(error, RepositoryNotFoundError) or status == NOT_FOUND:
        return CannotFetch(
            f"There is no {what} at {_endpoint()} ({answer}).",
            "",
            f"It may have been moved or renamed; check {_endpoint()}/{printable(repo)}.",
        )
    if status >= SERVER_TROUBLE or status == TOO_MANY:
        return CannotFetch(
            f"{_endpoint()} has a server problem or is overloaded ({answer}).",
            "",
            "Run the command again later; received data is kept.",
        )
    return CannotFetch(f"{_endpoint()} rejected the request for {what} ({answer}).", "", f"See {_page(repo, path)}")


def _no_access(repo: str, what: str, answer: str, gated: bool) -> CannotFetch:
    from huggingface_hub import get_token

    home = f"{_endpoint()}/{printable(repo)}"
    why = "is gated: its terms must be accepted first" if gated else "is gated, private, or does not exist"
    token = "a token without access was sent" if get_token() else "no token was sent"
    return CannotFetch(
        f"{what} {why} ({answer}; {token}).",
        "",
        f"Log in at {home} and accept the terms there; create a token at {_endpoint()}/settings/tokens; pass it in "
        "HF_TOKEN, or run `hf auth login`; then run this command again.",
    )


def _unreachable(error: Exception) -> CannotFetch:
    return CannotFetch(
        f"{_endpoint()} cannot be reached ({reason(error)}).",
        "",
        "Check the network, the proxy and HF_ENDPOINT, and run the command again; received data is kept.",
    )


def _what(repo: str, path: str) -> str:
    return printable(f"{repo}/{path}" if path else repo)


def _page(repo: str, path: str) -> str:
    """The URL of a file for a browser."""
    return printable(f"{_endpoint()}/{repo}/blob/main/{path}" if path else f"{_endpoint()}/{repo}", 300)


def _endpoint() -> str:
    """The Hub's URL, `$HF_ENDPOINT` if that is set."""
    from huggingface_hub import constants

    return constants.ENDPOINT
