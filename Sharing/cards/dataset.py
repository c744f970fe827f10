"""The card of a dataset."""

from __future__ import annotations

from importlib import import_module

from Enviroment.dataset.commands import statistics
from Enviroment.dataset.format import ACTION, IMPORTED_FROM
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.tasks import script_of
from Sharing.cards.card import TAGS, CardRequest, dataset_card
from Sharing.contents import SHEET_FILE

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
_LARGEST = "1M<n<10M"


def card_of_dataset(dataset: TeacherDataset, request: CardRequest) -> str:
    """Return the card of a dataset."""
    hub, task = import_module("huggingface_hub"), dataset.task
    recipe = dataset.manifest.recipe
    kinds = ["reinforcement-learning", *(() if task.is_game else ("robotics",))]
    data = hub.DatasetCardData(
        license=request.licence,
        pretty_name=f"{task.name}: {len(dataset)} steps of a teacher",
        task_categories=kinds,
        size_categories=[_size(len(dataset))],
        tags=["vision-distillation", *TAGS, task.env_id],
    )
    columns = [
        (name, column.dtype, " x ".join(map(str, column.shape)) or "1")
        for name, column in sorted(dataset.manifest.step_columns.items())
    ]
    return dataset_card(
        request,
        data,
        {
            "task": task.name,
            "env_id": task.env_id,
            "steps": len(dataset),
            "n_episodes": dataset.n_episodes,
            "picture": SHEET_FILE if request.has_picture else "",
            "has_frames": task.has_frames,
            "columns": columns,
            "statistics": statistics(dataset),
            "has_noise": recipe.behaviour_noise > 0,
            "is_imported": IMPORTED_FROM in recipe.teacher,
            "has_rewards": bool((dataset.returns() != 0).any()),
            "script": script_of(task),
            "is_continuous": dataset.manifest.step_columns[ACTION].dtype != "int64",
        },
    )


def _size(steps: int) -> str:
    return next((name for below, name in _SIZES if steps < below), _LARGEST)
