"""Convert SB3 files to teachers, and describe bundles.

`convert` measures no returns, because `Evaluation` builds on `Models`. The baselines of the bundle
are empty until they are measured there.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import sys
from pathlib import Path

from Common.errors import UserError
from Common.files.bounded_read import file_sha256
from Common.names import counted
from Enviroment.custom import named_task, rules_of
from Enviroment.env_settings import parse_env_kwargs, parse_wrappers
from Enviroment.task import Task
from Models.sb3.softening import Softening
from Models.sb3.trust import Trust
from Models.sb3.zip_file import read_sb3_zip, saved_agent
from Models.teacher import hub
from Models.teacher.corruption import corrupt
from Models.teacher.description import TeacherDescription
from Models.teacher.fit import check_task
from Models.teacher.flags import Convert
from Models.teacher.policy import Teacher, save_teacher

_PACKAGES = ("torch", "stable-baselines3", "sb3-contrib", "gymnasium", "numpy")


def convert(flags: Convert, command: str, task: Task | None = None) -> None:
    """Convert an agent and write the bundle.

    Args:
        task: the task, whose environment may have arguments and wrappers; None: that of the flags.

    Raises:
        UserError: the input is invalid. Nothing is written.
    """
    task = task or _task(flags)
    if (flags.output / "teacher.json").exists():
        raise UserError(f"{flags.output} holds a teacher already. Choose another `output`.")
    archive, vecnormalize = saved_agent(Path(flags.archive)), flags.vecnormalize
    if flags.archive.startswith(hub.PREFIX):
        found = hub.download_agent(flags.archive)
        archive, vecnormalize = found.archive, vecnormalize or found.vecnormalize
    softening = Softening(flags.action_std, flags.temperature)
    tensors, network = read_sb3_zip(
        archive, vecnormalize, trust=Trust(flags.trust), softening=softening
    )
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    description = TeacherDescription(
        **network,
        task=task.name,
        command=command,
        versions=versions,
        baselines={},
        rules=rules_of(task),
    )
    teacher = Teacher(description, tensors)
    check_task(teacher, task)
    if vecnormalize is None:
        _print_raw(archive)
    if flags.corrupt_teacher:
        teacher = corrupt(teacher, flags.corrupt_teacher, flags.corrupt_seed)
    files = {"zip": archive, "vecnormalize": vecnormalize}
    source = {kind: _fingerprint(path) for kind, path in files.items() if path is not None}
    notes = {"source": {"name": flags.archive, **source}}
    save_teacher(flags.output, teacher.state_dict(), teacher.description, notes)


def _task(flags: Convert) -> Task:
    """Return the task of the flags.

    Raises:
        UserError: there is no such task, or one of the registry is to be changed.
    """
    task = named_task(flags.task)
    env_kwargs, wrappers = parse_env_kwargs(flags.env_kwargs), parse_wrappers(flags.wrapper)
    if not task.custom and (env_kwargs or wrappers):
        raise UserError(
            f"{flags.task} is a task of the toolkit: `env_kwargs` and `wrapper` are for own "
            "environments. Leave them out."
        )
    return dataclasses.replace(task, env_kwargs=env_kwargs, wrappers=wrappers)


def _print_raw(archive: Path) -> None:
    """Print a note that no statistics were given, and the path of a likely file of them."""
    beside = [name for name in hub.VECNORMALIZE if archive.with_name(name).is_file()]
    hint = f" {beside[0]} in the same folder may be its VecNormalize." if beside else ""
    print(
        "Note: without --vecnormalize, the agent is assumed to have been trained on raw "
        f"observations.{hint}",
        file=sys.stderr,
    )


def _fingerprint(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": file_sha256(path)}


def describe(teacher: Teacher) -> str:
    """Return a bundle's contents as text, one entry per line."""
    d = teacher.description
    statistics = teacher.state_normaliser
    changes = bool((statistics.mean != 0).any() or (statistics.var != 1).any())
    normalised = [
        f"{name}, each of {group.stack} stacked" if group.stack > 1 else name
        for name, group in zip(d.group_names, d.groups, strict=True)
        if group.normalised and changes
    ]
    actor = " -> ".join(str(size) for size in (*d.actor_layers, d.action_dim))
    lines = {
        "task": d.task,
        "trained by": d.algo,
        "actions": f"{d.family}, {d.action_space}",
        "observations": d.observation_space,
        "normalised": ", ".join(normalised) or "nothing",
        "actor": f"{actor} ({d.activation})",
        "critics": "none" if d.value_kind is None else f"{d.n_critics}, value of {d.value_kind}",
        "parameters": f"{sum(p.numel() for p in teacher.parameters()):,}",
        "discount": d.gamma,
        "SHA-256": d.sha256,
        "made by": d.command,
        "versions": ", ".join(f"{name} {version}" for name, version in d.versions.items()),
    }
    if d.action_std is not None:
        lines["set deviation"] = f"{d.action_std} half widths of the bounds"
    if d.state_dependent_std:
        lines["deviations"] = "follow from the state (gSDE)"
    if d.temperature is not None:
        lines["temperature"] = d.temperature
    if d.corruption_sigma:
        noise = f"N(0, {d.corruption_sigma}^2) on every parameter, seed {d.corruption_seed}"
        lines["corrupted"] = noise
    for policy, by_seeds in d.baselines.items():
        for name, returns in by_seeds.items():
            mean = sum(returns) / len(returns) if returns else float("nan")
            lines[f"{policy}, {name}"] = (
                f"mean return {mean:.2f} of {counted(len(returns), 'episode')}"
            )
            if successes := d.successes.get(policy, {}).get(name):
                lines[f"{policy}, {name}"] += f", success {sum(successes) / len(successes):.0%}"
    if d.imitability is not None:
        lines["imitability"] = d.imitability
    return "\n".join(f"{name:22} {value}" for name, value in lines.items())
