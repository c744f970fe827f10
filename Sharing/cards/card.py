"""Make the card of a repository: metadata in the form of the Hub, and a text for people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from Common.commands.redaction import redact
from Common.errors import UserError
from Sharing.contents import Kind
from Sharing.names import Repository

LIBRARY = "vision-distillation"
TAGS = ("policy-distillation", "imitation-learning")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")


@dataclass(frozen=True)
class CardRequest:
    """The content of a card, besides the facts of the student, teacher or dataset."""

    repository: Repository
    licence: str  # a name that the Hub knows, such as mit
    has_picture: bool  # whether a video (a contact sheet, of a dataset) is beside it

    def __post_init__(self) -> None:
        if not _LICENSE.fullmatch(self.licence):
            raise UserError(
                f"`license` {self.licence!r:.80} is not a name of the Hub, such as mit, apache-2.0 "
                "or cc-by-4.0."
            )

    @property
    def name(self) -> str:
        """Return the name of the repository without its owner."""
        return self.repository.repo_id.partition("/")[2]

    def address(self, file: str) -> str:
        """Return the address of a file of the repository."""
        endpoint = import_module("huggingface_hub.constants").ENDPOINT
        return f"{endpoint}/{self.repository.shown}/resolve/main/{file}"


def model_card(
    kind: Kind,
    request: CardRequest,
    tags: Sequence[str],
    index: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
) -> str:
    """Return the card of a student or a teacher.

    Args:
        tags: further tags, such as the environment.
        index: arguments of `huggingface_hub.EvalResult`, for the model-index.
        facts: the variables of the template.
    """
    hub = import_module("huggingface_hub")
    data = hub.ModelCardData(
        license=request.licence,
        library_name=LIBRARY,
        pipeline_tag="reinforcement-learning",
        tags=["reinforcement-learning", *TAGS, *tags],
        model_name=request.name,
        eval_results=[hub.EvalResult(**given) for given in index] or None,
    )
    return _checked(hub.ModelCard, _rendered(kind, data, request, facts), data)


def dataset_card(request: CardRequest, data: Any, facts: Mapping[str, Any]) -> str:
    """Return the card of a dataset, whose metadata are `huggingface_hub.DatasetCardData`."""
    hub = import_module("huggingface_hub")
    return _checked(hub.DatasetCard, _rendered("dataset", data, request, facts), data)


def returns_result(
    env_id: str, mean: float, std: float, episodes: int, first_seed: int
) -> dict[str, Any]:
    """Return the arguments of an `EvalResult` of returns, in the form of the leaderboards."""
    return measured(
        env_id, "mean_reward", "return", f"{mean:.2f} +/- {std:.2f}", episodes, first_seed
    )


def measured(
    env_id: str, key: str, title: str, value: float | str, episodes: int, first_seed: int
) -> dict[str, Any]:
    """Return the arguments of an `EvalResult`, with the episodes and seeds behind the value."""
    return {
        "task_type": "reinforcement-learning",
        "task_name": "reinforcement learning",
        "dataset_type": env_id,
        "dataset_name": env_id,
        "metric_type": key,
        "metric_name": title,
        "metric_value": value,
        "metric_args": {
            "episodes": episodes,
            "first_seed": first_seed,
            "last_seed": first_seed + episodes - 1,
        },
        "verified": False,
    }


def _rendered(kind: Kind, data: Any, request: CardRequest, facts: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("Sharing.cards"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    shown = redact({**facts, "repo_id": request.repository.repo_id, "name": request.name})
    text = environment.get_template(f"{kind}.md").render(
        **shown, repository=request.repository.shown
    )
    return f"---\n{data.to_yaml()}\n---\n\n{text.strip()}\n"


def _code(text: str) -> str:
    """Return a text that cannot leave its block of code."""
    return text.replace("```", "'''")


def _checked(card_class: Any, text: str, data: Any) -> str:
    """Return the card after the Hub's library has read back what was written.

    Raises:
        UserError: a value, such as a name, cannot be written as metadata.
    """
    try:
        read = card_class(text)
    except ValueError as error:
        raise UserError(f"The card is not valid: {error}") from error
    if read.data.to_dict() != data.to_dict():
        raise UserError(
            f"The card's metadata change when they are read: {data.to_dict()} became "
            f"{read.data.to_dict()}."
        )
    return text
