"""Names of repositories: OWNER/NAME, and datasets/OWNER/NAME as in the address of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from Common.errors import UserError
from Sharing.contents import DATASETS, RepoType


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub."""

    repo_id: str  # OWNER/NAME
    repo_type: RepoType

    @property
    def shown(self) -> str:
        """Return the name as it is typed."""
        return f"{DATASETS if self.repo_type == 'dataset' else ''}{self.repo_id}"


def parse_name(name: str) -> Repository:
    """Return the repository of a name, checked by the Hub's library, which is installed.

    Raises:
        UserError: it is not a name on the Hub.
    """
    repo_id = name.removeprefix(DATASETS)
    try:
        if repo_id.count("/") != 1:  # the library allows none
            raise ValueError("it has no owner" if "/" not in repo_id else "it has several slashes")
        import_module("huggingface_hub.utils").validate_repo_id(repo_id)
    except ValueError as error:  # of which its own exception is one
        reason = str(error).rstrip(".")
        raise UserError(
            f"{name!r:.200} is not a name on the Hub: {reason}. Give OWNER/NAME, or "
            f"{DATASETS}OWNER/NAME for a dataset."
        ) from error
    return Repository(repo_id, "dataset" if name != repo_id else "model")
