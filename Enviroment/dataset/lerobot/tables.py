"""The parquet files of a LeRobotDataset, as pandas and Hugging Face's datasets read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from Enviroment.dataset.lerobot import layout
from Enviroment.dataset.lerobot.layout import Feature, arrow

_TASK_NAMES = "__index_level_0__"  # the index of pandas


def step_table(
    columns: Mapping[str, np.ndarray],
    pictures: Mapping[str, Sequence[bytes]],
    features: Mapping[str, Feature],
) -> Any:
    """Return the steps of an episode as a table, with pictures as PNG files."""
    pa, _ = arrow()
    arrays: dict[str, Any] = {}
    for name in features:
        if name in columns:
            arrays[name] = _array(columns[name])
        elif name in pictures:
            paths = [f"frame-{i:06d}.png" for i in range(len(pictures[name]))]
            arrays[name] = pa.StructArray.from_arrays(
                [pa.array(pictures[name], pa.binary()), pa.array(paths, pa.string())],
                names=["bytes", "path"],
            )
    stored = {name: features[name] for name in arrays}
    described = {"info": {"features": {n: _hugging_face(f) for n, f in stored.items()}}}
    table = pa.table(arrays)
    return table.replace_schema_metadata({"huggingface": json.dumps(described)})


def _array(values: np.ndarray) -> Any:
    """Return `(T,)` as a column of numbers, `(T, N)` as one of lists of N numbers."""
    pa, _ = arrow()
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if values.ndim == 1 or values.shape[1] == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _hugging_face(feature: Feature) -> dict[str, Any]:
    """Return a feature as Hugging Face's `datasets` describes it in a file."""
    if feature.dtype == "image":
        return {"_type": "Image"}
    value = {"dtype": feature.dtype, "_type": "Value"}
    if feature.shape == (1,):
        return value
    return {"feature": value, "length": feature.shape[0], "_type": "Sequence"}


def write_episodes_table(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `meta/episodes`."""
    pa, pq = arrow()
    path = folder / layout.EPISODES_PATH.format(chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    names = rows[0]
    pq.write_table(pa.table({name: [row[name] for row in rows] for name in names}), path)


def write_tasks(folder: Path, instructions: Sequence[str]) -> None:
    """Write `meta/tasks.parquet`: a data frame of pandas whose index is the instruction."""
    pa, pq = arrow()
    table = pa.table(
        {
            layout.TASK: pa.array(range(len(instructions)), pa.int64()),
            _TASK_NAMES: pa.array(instructions, pa.string()),
        }
    )
    described = {
        "index_columns": [_TASK_NAMES],
        "column_indexes": [],
        "columns": [
            _of_pandas(layout.TASK, layout.TASK, "int64", "int64"),
            _of_pandas(None, _TASK_NAMES, "unicode", "object"),
        ],
        "pandas_version": "2.2.3",
    }
    path = folder / layout.TASKS
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)


def _of_pandas(name: str | None, field: str, kind: str, numpy_kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "field_name": field,
        "pandas_type": kind,
        "numpy_type": numpy_kind,
        "metadata": None,
    }
