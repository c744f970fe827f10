"""`python -m Evaluation.export RUN --format onnx --output FILE`: export a student for deployment.

The file does not depend on this package: see docs/deploy.md.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from gymnasium import spaces

from Common.errors import UserError
from Common.files.durable import write_file
from Enviroment.action_range import action_range
from Enviroment.cameras import describe_cameras
from Enviroment.observations import FRAME, PROPRIO, frame_channels
from Enviroment.tasks import Task
from Evaluation.evaluate.subject import Subject, open_subject
from Evaluation.export.formats import Format
from Evaluation.tool import print_note
from Models.networks.encoders import is_own
from Models.student.bundle import WEIGHTS_FILE, save_student
from Models.student.deployed import ACTION, MEMORY, NEXT_MEMORY, Deployed, to_onnx, to_torchscript

if TYPE_CHECKING:
    from Evaluation.export.__main__ import ExportFlags

METADATA_FILE = "metadata.json"  # among TorchScript's extra files
INSTALL = "pip install -e '.[export]'"
_CHECKED = 32  # observations
# Maximum deviation of an ONNX file from the student in float32: relative to the actions' range, or
# the share of discrete actions that differ because rounding breaks ties.
_TOLERANCE, _TIES = 1e-4, 0.1
# Inputs in order, `(B, ...)` -> outputs in order, actions first, `(B, ...)`.
Runner = Callable[[list[np.ndarray]], list[np.ndarray]]


def export(flags: ExportFlags) -> Path:
    """Write the file, or the bundle's folder, and return its path.

    Raises:
        UserError: there is no student, it is damaged, the file exists or cannot be written, or a
            package is missing.
    """
    if flags.format == "bundle":
        return _export_bundle(flags)
    check_format(flags.format)
    if flags.output.is_dir():
        raise UserError(f"--output {flags.output} is a folder. Name a file in it.")
    _check_free(flags.output, flags.overwrite)
    return export_subject(
        open_subject(flags.run, encoder=flags.encoder), flags.format, flags.output
    )


def _check_free(path: Path, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise UserError(
            f"{path} already exists. Add --overwrite to replace it, or choose another --output."
        )


def _export_bundle(flags: ExportFlags) -> Path:
    """Write the student's bundle without its critic, for inference or further training."""
    folder = flags.output
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"--output {folder} is not a folder. Name one for the bundle's two files.")
    subject = open_subject(flags.run, encoder=flags.encoder)
    if folder.resolve() == subject.bundle.resolve():
        raise UserError(f"--output {folder} is the bundle itself: its critic would be lost.")
    weights = folder / WEIGHTS_FILE
    _check_free(weights, flags.overwrite)
    save_student(subject.student, folder, subject.description, critic=False)
    less = (subject.bundle / WEIGHTS_FILE).stat().st_size - (size := weights.stat().st_size)
    print(f"Written to {folder} ({size / 1e6:.2f} MB, without {less / 1e6:.2f} MB of the critic).")
    return folder


def check_format(format_: Format) -> None:
    """Raise UserError if packages that the format needs are not installed."""
    if format_ == "onnx":
        for package in ("onnx", "onnxruntime"):
            _onnx(package)


def export_subject(subject: Subject, format_: Format, path: Path) -> Path:
    """Write a student's file, replacing an existing one, and print its deviation.

    Raises:
        UserError: as `export`, except for existing files.
    """
    about = describe(subject, format_)
    if format_ == "onnx":
        content = _with_metadata(to_onnx(subject.student), about)
        run = _onnx_runner(content)
    else:
        content = to_torchscript(subject.student, {METADATA_FILE: json.dumps(about, indent=1)})
        run = _torchscript_runner(content)
    deviation = _check(subject, format_, run)
    write_file(path, content)
    print(f"Written to {path} ({len(content) / 1e6:.2f} MB). {deviation}")
    if subject.blind:
        print_note("This student was trained blind. Give it frames of zeros.")
    return path


def describe(subject: Subject, format_: Format) -> dict[str, str]:
    """Return the metadata for deployment. Values are JSON, except plain names and numbers.

    Returns:
        `task`, `student_sha256` of the bundle, `family` of its distribution, `inputs` in order
        with type and shape (without the batch), `output` with the actions' bounds or number,
        `precision` of the convolutions in the file; of a recurrent student, `memory`: its input,
        output, shape and first value; with frames, `frame_stack`, `frame_interval`
        in env steps, `frame_channels` and their `frame_order` in one time step, `camera` (a list
        for several) and, with depth, its `depth_range` in metres; with proprioception, `proprio`,
        ranges of the task's state.
    """
    task, student = subject.task, subject.student
    shapes = {name: list(space.shape or ()) for name, space in subject.groups.items()}
    dtypes = {name: str(space.dtype) for name, space in subject.groups.items()}
    inputs = {
        name: {"dtype": dtypes[name], "shape": shapes[name]} for name in student.config.groups
    }
    dtype = "float32" if isinstance(student.action_space, spaces.Box) else "int64"
    shape = list(student.action_space.shape or ())
    output = {"name": ACTION, "dtype": dtype, "shape": shape, **subject.description["actions"]}
    about = {
        "task": task.name,
        "student_sha256": subject.description["sha256"],
        "family": student.config.family,
        "inputs": json.dumps(inputs),
        "output": json.dumps(output),
        "precision": "float32" if format_ == "onnx" else student.precision,
    }
    if FRAME in inputs:
        channels = frame_channels(task)
        about["frame_stack"] = str(shapes[FRAME][0] // channels)
        about["frame_interval"] = str(task.frame_interval)
        about["frame_channels"] = str(channels)
        about["frame_order"] = json.dumps(_frame_order(task))
        if task.cameras:
            about["camera"] = json.dumps(describe_cameras(task.camera))
        if task.depth is not None:
            about["depth_range"] = json.dumps([task.depth.near, task.depth.far])
        if student.config.camera_channels:
            about["camera_encoders"] = "separate"
        if subject.blind:
            about["blind"] = "true"
    else:
        about["precision"] = "float32"  # no convolutions
    if student.config.is_recurrent:
        shape = [student.config.recurrent_units]
        memory = {"input": MEMORY, "output": NEXT_MEMORY, "dtype": "float32", "shape": shape}
        about["memory"] = json.dumps({**memory, "first": 0.0})
    if PROPRIO in inputs:
        about["proprio"] = json.dumps(task.proprio)
    return about


def _frame_order(task: Task) -> list[str]:
    """Return the names of the channels of one time step, such as `top red`."""
    colours = ("red", "green", "blue") if task.camera_set.rgb else ("gray",)
    return [
        name
        for view in task.camera_set.views()
        for name in ([view.title] if view.is_depth else [f"{view.title} {c}" for c in colours])
    ]


def _check(subject: Subject, format_: Format, run: Runner) -> str:
    """Compare the file's actions with the student's on random observations.

    Returns:
        A sentence with the maximum deviation.

    Raises:
        UserError: the deviation exceeds that of rounding.
    """
    student = subject.student
    space = student.observation_space
    assert isinstance(space, spaces.Dict)
    space.seed(0)
    drawn = [space.sample() for _ in range(_CHECKED)]
    inputs = [np.stack([obs[name] for obs in drawn]) for name in student.config.groups]
    if student.config.is_recurrent:
        size = (_CHECKED, student.config.recurrent_units)
        inputs.append(np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32))
    actions, *memory = _run_file(run, inputs, student.config.mode, format_)
    own, *own_memory = _outputs(Deployed(student), inputs)
    same = Deployed.portable(student) if format_ == "onnx" else None
    reference, *memories = (own, *own_memory) if same is None else _outputs(same, inputs)
    is_box = isinstance(student.action_space, spaces.Box)
    limit = 0.0 if same is None else _TOLERANCE if is_box else _TIES
    far = _distance(actions, reference, student.action_space)
    forgets = [np.abs(a - b).max() for a, b in zip(memory, memories, strict=True)]
    most = 0.0 if same is None else _TOLERANCE
    if not (far <= limit and all(apart <= most for apart in forgets)):  # also if it is NaN
        raise UserError(
            f"The file was not written: the {format_} actions deviate from the student's by "
            f"{far:.2g} of their range, but rounding explains {limit:.2g}"
            f"{_memory_deviation(forgets, most)}. Please report this student."
        )
    if same is None:
        return "Its actions match the student's bit-for-bit."
    apart = _distance(actions, own, student.action_space)
    what = "of the actions' range" if is_box else "of the actions differ"
    precision = student.precision if FRAME in subject.groups else "float32"
    return f"Deviation of float32 from the student's {precision}: at most {apart:.1g} {what}."


def _memory_deviation(forgets: list[np.floating], most: float) -> str:
    """Return how far a recurrent student's memory deviates, for a message."""
    return "".join(f"; its memory by {apart:.2g}, explained {most:.2g}" for apart in forgets)


def _run_file(
    run: Runner, inputs: list[np.ndarray], mode: str, format_: Format
) -> list[np.ndarray]:
    """Return the file's outputs. Raise UserError if that of an own encoder fails."""
    try:
        return run(inputs)
    except Exception as error:  # the file of the user's code may do anything
        if not is_own(mode):
            raise
        raise UserError(
            f"The file was not written: the {format_} of `encoder` {mode} fails for a batch of "
            f"{_CHECKED}. Take the size of the batch from frames.shape[0] in its `forward`, which "
            f"the exporter follows, not from len(frames). Its error is:\n  "
            f"{type(error).__name__}: {error}"
        ) from error


def _distance(a: np.ndarray, b: np.ndarray, space: spaces.Space) -> float:
    """Return the largest difference relative to the range of actions, or the share that differ.

    Unbounded actions are compared relative to the largest of `b`, at least 1.
    """
    if isinstance(space, spaces.Box):
        width, largest = action_range(space), np.abs(b).max(axis=0)
        width = np.where(np.isfinite(width), width, np.maximum(largest, 1.0))
        return float((np.abs(a.astype(np.float64) - b) / width).max())
    return float((a != b).mean())


def _outputs(network: torch.nn.Module, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of a network in order, actions first."""
    with torch.no_grad():
        outputs = network(*map(torch.as_tensor, inputs))
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else [outputs])]


def _torchscript_runner(content: bytes) -> Runner:
    loaded = torch.jit.load(io.BytesIO(content))
    return lambda inputs: _outputs(loaded, inputs)


def _onnx_runner(content: bytes) -> Runner:
    session = _onnx("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))


def _with_metadata(content: bytes, about: dict[str, str]) -> bytes:
    onnx = _onnx("onnx")
    model = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(model, about)
    # The exporter knows only the inputs' sizes.
    sizes = json.loads(about["output"])["shape"]
    for dim, size in zip(model.graph.output[0].type.tensor_type.shape.dim[1:], sizes, strict=True):
        dim.dim_value = size
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _onnx(package: Literal["onnx", "onnxruntime"]) -> Any:
    try:
        return import_module("onnx") if package == "onnx" else import_module("onnxruntime")
    except ImportError as error:
        raise UserError(
            f"--format onnx needs {package}, which is not installed. Install it by `{INSTALL}`, or "
            "use torchscript, which needs no further packages."
        ) from error
