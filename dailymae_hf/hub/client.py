"""One push, one commit: the Hub's own client, patience with faults that pass, and errors that say what to do."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RevisionNotFoundError,
)

from dailymae_hf.errors import HubError

logger = logging.getLogger(__name__)

T = TypeVar("T")
# Seconds between attempts. The client itself tries each request again for some 20 seconds before an attempt has failed.
WAITS = (5.0, 20.0, 60.0)


def with_retries(
    action: Callable[[], T],
    what: str,
    *,
    waits: Sequence[float] = WAITS,
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """`action()`, again after each of `waits` where it failed for a reason that may pass.

    Raises:
        HubError: it failed for good, or once more than there are waits; the message says what to do.
    """
    for number in range(len(waits) + 1):
        try:
            return action()
        except Exception as raised:
            # The client's own wrapping of an upload that failed in one of its threads.
            error = raised.__cause__ if type(raised) is RuntimeError and raised.__cause__ else raised
            if not is_transient(error) or number == len(waits):
                raise explained(error, what) from error
            logger.warning("%s: %s; trying again in %g s", what, _reason(error), waits[number])
            pause(waits[number])
    raise AssertionError


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later: the network, a timeout, a server in trouble."""
    if isinstance(error, OfflineModeIsEnabled):
        return False
    response = getattr(error, "response", None)
    if response is not None:
        return response.status_code in (408, 425, 429) or response.status_code >= 500
    # The client's transport errors come from the HTTP library, whose name changed with its versions.
    return isinstance(error, ConnectionError | TimeoutError | LocalEntryNotFoundError) or type(
        error
    ).__module__.startswith("httpx")


def _reason(error: BaseException) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the Hub answered {response.status_code}"
    if isinstance(error, LocalEntryNotFoundError):
        return "the Hub cannot be reached"
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no more is known'}"


def explained(error: BaseException, what: str) -> BaseException:
    """The error as one that a user can act on; our own and programming errors as they are."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    login = "`hf auth login` or the variable HF_TOKEN gives one"
    if isinstance(error, OfflineModeIsEnabled):
        return HubError(f"{what}: HF_HUB_OFFLINE is set")
    if status == 401:
        return HubError(f"{what}: the Hub asks for a valid token; {login}")
    if status == 403:
        return HubError(f"{what}: the token in use may not do this; its owner has to have write access")
    if status == 404:
        return HubError(f"{what}: not there, or private and not this token's to see; {login}")
    if isinstance(error, HfHubHTTPError | HFValidationError) or is_transient(error):
        return HubError(f"{what}: {_reason(error)}")
    return error


def create_repository(api: HfApi, name: str, *, private: bool | None, repo_type: str = "model") -> str:
    """Make the repository unless it is there; returns its full name. A `private` of None leaves it to the owner."""
    return api.create_repo(name, private=private, repo_type=repo_type, exist_ok=True).repo_id


def remote_text(
    api: HfApi, repository: str, name: str, *, repo_type: str = "model", revision: str | None = None
) -> str | None:
    """A text file of a repository as it is there now, None where there is none."""
    try:
        path = api.hf_hub_download(repository, name, repo_type=repo_type, revision=revision)
    except (RemoteEntryNotFoundError, RevisionNotFoundError):
        return None
    return Path(path).read_text()


def commit(
    api: HfApi,
    repository: str,
    files: Mapping[str, Path | bytes],
    message: str,
    *,
    repo_type: str = "model",
    revision: str | None = None,
) -> str:
    """Put all files into one commit; readers see the state before it or after it. Returns the commit's address.

    Large files go up first and are in nobody's view until the commit names them; a second attempt sends what is
    missing.
    """
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=given) for name, given in files.items()]
    done = api.create_commit(repository, operations, commit_message=message, repo_type=repo_type, revision=revision)
    return done.commit_url
