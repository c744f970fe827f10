"""Make the Gymnasium environment of a task: its settings, wrappers, and errors of its own."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import warnings
from importlib.metadata import version
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.wrappers import FlattenObservation

from Common.errors import UserError
from Common.names import nearest
from Enviroment.simulation.snapshots import find_time_limit
from Enviroment.state_layout import check_state
from Enviroment.task import Task

# Maximum env steps of an episode that no time limit of Gymnasium ends.
LONGEST_EPISODE = 100_000
# Gymnasium warns about each version but the newest. Messages of this module name the newest one.
warnings.filterwarnings("ignore", r".*The environment .* is out of date", DeprecationWarning)


def make_simulation(task: Task, *, renders: bool = False) -> gym.Env:
    """Return Gymnasium's environment of the task, with its wrappers and time limit.

    Flatten the observation to one vector, as `Enviroment.state_layout` describes. The observation
    of a task without a state stays an image.

    Args:
        renders: `env.render()` returns pictures.

    Raises:
        UserError: see `make_environment`; or the observation cannot be a state.
    """
    env = make_environment(task, renders=renders)
    if not task.has_state:
        return env
    try:
        is_vector = check_state(task, env.observation_space)
    except UserError:
        env.close()
        raise
    return env if is_vector else FlattenObservation(env)


def make_environment(task: Task, *, renders: bool = False) -> gym.Env:
    """Return Gymnasium's environment of the task with the task's own wrappers.

    Do not import a package that is named in a file: the author of the file would choose the code
    that runs. A package that is imported already is allowed.

    Raises:
        UserError: the id is unknown to Gymnasium, the environment cannot be made, or only a file
            names its package.
    """
    _check_named(task)
    settings: dict[str, Any] = dict(task.env_kwargs)
    if renders:
        settings["render_mode"] = "rgb_array"
    env = None
    try:
        # The checker only warns, and takes a quarter of the time of a step.
        env = gym.make(task.env_id, task.max_episode_steps, disable_env_checker=True, **settings)
        for name in task.wrappers:
            env = _wrapped(env, name)
        return env
    except BaseException as error:
        if env is not None:
            env.close()
        if isinstance(error, Exception | SystemExit):  # the environment's code may raise anything
            raise _explained(task, error) from error
        raise


def _check_named(task: Task) -> None:
    """Raise UserError if only a file names code that is not imported yet."""
    if not task.described:
        return
    package, is_named = task.env_id.rpartition(":")[0], task.env_id in task.named
    remedy = "If you trust it, give"
    if package and not is_named and package not in sys.modules:
        raise UserError(
            f"{task.env_id} needs the package {package}. It is not imported because only a file "
            f"names it, and importing runs its code. {remedy} `env_id` {task.env_id}, or `import "
            f"{package}` in your own program."
        )
    own = {"gymnasium", _root(package)} if is_named else {"gymnasium"}
    for name in task.wrappers:
        module = name.partition(":")[0]
        if name not in task.named and module not in sys.modules and _root(module) not in own:
            raise UserError(
                f"{task.env_id} has a wrapper of the package {module}. It is not imported because "
                f"only a file names it, and importing runs its code. {remedy} `wrapper` "
                f"{','.join(task.wrappers)}, or `import {module}` in your own program."
            )
    # Some environments import a module that an argument names as module:name.
    texts = [text for text in _texts(task.env_kwargs) if ":" in text]
    if texts and not is_named:
        raise UserError(
            f"{task.env_id} has the argument {texts[0]!r:.80}, which may name code to import, and "
            f"only a file gives it. {remedy} `env_id` {task.env_id}."
        )


def _root(module: str) -> str:
    return module.partition(".")[0]


def _texts(value: Any) -> list[str]:
    """Return all texts in a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _wrapped(env: gym.Env, name: str) -> gym.Env:
    """Return the environment in the wrapper `package:Class`."""
    package, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise UserError(
            f"`wrapper` {name}: {error} Install the package, or add its folder to PYTHONPATH."
        ) from error
    cls = getattr(module, attribute, None)
    if not (inspect.isclass(cls) and issubclass(cls, gym.Wrapper)):
        known = [key for key, value in vars(module).items() if _is_wrapper(value)]
        hint = f" Did you mean {nearest(attribute, known)}?" if known else ""
        raise UserError(
            f"`wrapper` {name}: {package} has no subclass {attribute} of gymnasium.Wrapper.{hint}"
        )
    try:
        return cls(env)
    except Exception as error:  # the wrapper's own code may raise anything
        raise UserError(
            f"`wrapper` {name} cannot wrap {env}. It is called with the environment alone, and "
            f"its error is:\n  {type(error).__name__}: {error}"
        ) from error


def _is_wrapper(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, gym.Wrapper) and value is not gym.Wrapper


def _explained(task: Task, error: BaseException) -> UserError:
    """Return the message for an error of making the environment."""
    if isinstance(error, UserError):
        return error
    package, _, name = task.env_id.rpartition(":")
    if isinstance(error, gym.error.UnregisteredEnv):
        hint = "" if package else " To use an environment of another package, give package:Id-v0."
        return UserError(
            f"Gymnasium has no environment {name!r}. Did you mean {nearest(name, gym.registry)}?"
            f"{hint}"
        )
    if isinstance(error, gym.error.DeprecatedEnv):
        return UserError(f"{task.env_id} was removed from its package. {error}")
    if isinstance(error, ModuleNotFoundError):
        return UserError(
            f"{task.env_id} cannot be made: {error} Install the package, or add its folder to "
            "PYTHONPATH."
        )
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        return _unknown_argument(task, name, error)
    return UserError(
        f"{task.env_id} cannot be made. Its error (with {_versions()}):\n"
        f"  {type(error).__name__}: {error}"
    )


def _unknown_argument(task: Task, name: str, error: TypeError) -> UserError:
    """Return the message for an argument that the environment does not have."""
    text, known = str(error), _arguments(name)
    listed = f" It takes {', '.join(known)}." if known else ""
    if "'render_mode'" in text:
        return UserError(
            f"{task.env_id} takes no render_mode, so env.render() cannot give its frames.{listed}"
        )
    return UserError(
        f"{task.env_id} does not take one of `env_kwargs` {', '.join(task.env_kwargs)}.{listed} "
        f"Its error:\n  {text}"
    )


def _arguments(name: str) -> list[str]:
    """Return the names of the arguments of an environment's class, where its signature has them."""
    entry: Any = gym.registry[name].entry_point
    with contextlib.suppress(Exception):  # user code may have no signature
        creator = load_env_creator(entry) if isinstance(entry, str) else entry
        parameters = inspect.signature(creator).parameters.values()
        return [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return []


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("gymnasium", "mujoco", "numpy"))


def time_limit(task: Task) -> int | None:
    """Return the env steps after which Gymnasium truncates an episode; None for never."""
    with contextlib.closing(make_simulation(task)) as env:
        return limit_of(env)


def limit_of(env: gym.Env) -> int | None:
    """Return the env steps after which Gymnasium truncates an episode; None for never."""
    limit = find_time_limit(env)
    return None if limit is None else limit._max_episode_steps
