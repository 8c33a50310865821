"""What went wrong at the Hub, as one line with a remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from textpl.recipes.yaml_text import RecipeError

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@contextlib.contextmanager
def clear_errors(repo_id: str, revision: str | None, *, pushing: str = "") -> Iterator[None]:
    """Errors of the client as one line with a remedy; without their cause, whose request holds the token.

    Args:
        repo_id: what was asked for; "" for what is no repository.
        revision: of it.
        pushing: for uploads: what holds when one breaks off, such as "nothing was shared".
    """
    try:
        yield
    except GatedRepoError:
        raise RecipeError(f"{repo_id} is gated: ask for access on its page, then {LOG_IN}.") from None
    except RevisionNotFoundError:
        raise RecipeError(f"{repo_id} has no revision {revision!r}.") from None
    except RemoteEntryNotFoundError:
        raise RecipeError(f"{repo_id} has lost a file that the Hub lists; try again.") from None
    except RepositoryNotFoundError as error:
        raise RecipeError(_not_found(repo_id, error.response.status_code)) from None
    except HfHubHTTPError as error:
        raise RecipeError(_refused(repo_id, error.response.status_code)) from None
    except RuntimeError as error:  # the client's, around what went wrong with one large file
        if not str(error).startswith("Error while uploading"):
            raise
        raise RecipeError(f"{str(error).rstrip('.')}; {pushing}. Try again.") from None
    except (RevisionResolutionError, LocalEntryNotFoundError, OfflineModeIsEnabled, HTTPError, ConnectionError):
        if pushing and not constants.is_offline_mode():
            raise RecipeError(
                f"The upload to {repo_id} broke off, or there is no connection; {pushing}. Try again."
            ) from None
        why = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else "there is no connection to it"
        missing = "The"
        if repo_id and not pushing:
            missing = f"{repo_id}{'@' + revision if revision else ''} is not in the cache, and the"
        raise RecipeError(f"{missing} Hub cannot be reached ({why}).") from None


def _not_found(repo_id: str, status: int) -> str:
    if get_token() is None:
        return f"There is no {repo_id} on the Hub, or it is private: to see it, {LOG_IN}."
    if status == 401:
        return f"The Hub refuses the token, or there is no {repo_id}: {LOG_IN}."
    return (
        f"There is no {repo_id} on the Hub that this token can see: check the name, or use a token with access to it."
    )


def _refused(repo_id: str, status: int) -> str:
    if status == 401:
        return f"The Hub refuses the token: {LOG_IN}."
    if status == 403:
        return f"The token may not write to {repo_id}: {LOG_IN} with write access to that owner."
    return f"The Hub answers {status}{' for ' + repo_id if repo_id else ''}; try again later."
