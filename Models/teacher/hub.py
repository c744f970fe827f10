"""Download agents from the Hugging Face hub by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from Common.errors import UserError
from Common.hub import hub_library, reaching_hub

PREFIX = "hf://"
_NAME = re.compile(r"hf://(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w.-]*))?")
VECNORMALIZE = ("vec_normalize.pkl", "vecnormalize.pkl")  # names in RL Zoo and others


@dataclass(frozen=True)
class HubAgent:
    """An agent's files in the cache of the hub library."""

    archive: Path  # SB3's zip
    vecnormalize: Path | None


def download_agent(name: str) -> HubAgent:
    """Return the SB3 zip of a repository, and its VecNormalize file if it has one.

    Args:
        name: `hf://OWNER/REPOSITORY`, optionally with `@REVISION`.

    Raises:
        UserError: huggingface_hub is not installed, the network or the repository is missing, or
            the repository does not hold exactly one agent.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(f"{name!r} is not a name on the hub: {PREFIX}OWNER/REPOSITORY[@REVISION].")
    repository, revision = match.groups()
    hub = hub_library(name)
    elsewhere = "download its zip elsewhere and give its path."
    with reaching_hub(
        f"{name} cannot be downloaded", f"Check the name and the network, or {elsewhere}"
    ):
        files = hub.list_repo_files(repository, revision=revision)
        archive = _choose(name, repository, files)
        vecnormalize = next((file for file in VECNORMALIZE if file in files), None)
        paths = [
            Path(hub.hf_hub_download(repository, file, revision=revision))
            for file in (archive, vecnormalize)
            if file is not None
        ]
    return HubAgent(paths[0], paths[1] if vecnormalize else None)


def _choose(name: str, repository: str, files: list[str]) -> str:
    archives = [file for file in files if file.endswith(".zip")]
    usual = repository.partition("/")[2] + ".zip"
    if usual in archives:
        return usual
    if len(archives) != 1:
        raise UserError(f"{name} holds {len(archives)} zips, not one agent: {', '.join(archives)}.")
    return archives[0]
