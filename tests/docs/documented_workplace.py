"""A reader's folder: a copy of the checkout, and what the documents say that the reader has.

A stand-in is made when a command is about to read it and no command before has made it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.documented_budgets import Budget, budget_of
from tests.docs.documented_commands import ROOT, Command, Fence
from tests.docs.source_audit import PACKAGES

_FILES = ("Makefile", "README.md", "pyproject.toml", "requirements.txt")
_SHIPPED = ("*/README.md", "*/*.csv", "*/teachers", "*/students")  # of Results; the rest are runs
TIMEOUT = 600  # seconds a command: ten are enough, but the machine may be busy
_ROBOT = """
from pathlib import Path
import gymnasium as gym
from gymnasium.envs.mujoco import pusher_v5

{register}

class {name}(pusher_v5.PusherEnv):
    def __init__(self, **arguments):
        original = Path(pusher_v5.__file__).parent / "assets" / "pusher_v5.xml"
        model = Path(__file__).with_name("{name}.xml")
        model.write_text(original.read_text().replace("r_forearm_link", "{body}"))
        super().__init__(xml_file=str(model), **arguments)
"""
_AGENT = """
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

env = VecNormalize(make_vec_env("Pusher-v5", 2))
agent = PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu")
agent.learn(32).save("{zip}")
env.save("vecnormalize.pkl")
"""

_ENCODER = """
from torch import nn


class TinyEncoder(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(shape[0], 32, 5, stride=2), nn.ReLU(), nn.Flatten())

    def forward(self, frames):
        return self.net(frames / 255)
"""


@dataclass(frozen=True)
class Workplace:
    """Where the commands of one document are run, one after another."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, parent: Path) -> Workplace:
        """A copy of what git keeps of the checkout, and programs that find its packages there."""
        folder, site = parent / "reader", parent / "site"
        no_caches = shutil.ignore_patterns("__pycache__", "wandb")
        for name in (*PACKAGES, "tests", "docs", "install"):
            shutil.copytree(ROOT / name, folder / name, ignore=no_caches)
        for name in _FILES:
            shutil.copy2(ROOT / name, folder / name)
        for pattern in _SHIPPED:
            for path in (ROOT / "Results").glob(pattern):
                target = folder / path.relative_to(ROOT)
                if path.is_dir():
                    shutil.copytree(path, target)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, target)
        site.mkdir()
        for name in PACKAGES:  # before those of the checkout, which is installed in editable mode
            (site / name).symlink_to(folder / name)
        _set_up(folder)
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": binaries, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        own["MINARI_DATASETS_PATH"] = str(parent / "minari")
        return cls(folder, {**os.environ, **own})

    def follow(self, command: Command, budget: Budget) -> None:
        """Runs a documented command within a budget.

        Raises:
            AssertionError: it failed, or did not leave or say what it should.
        """
        words = tuple(self._substitute(word) for word in command.words)
        self.provide(words)
        output = words[words.index("--output") + 1] if "--output" in words else ""
        leaves = [pattern.format(output=output.rstrip("/")) for pattern in budget.leaves]
        before = [self._seen(pattern) for pattern in leaves]
        said = self.run(_shortened(words, budget), command.pythonpath)
        assert budget.says in said, f"It did not say {budget.says!r}, but\n{said}"
        for pattern, seen in zip(leaves, before, strict=True):
            assert self._seen(pattern) - seen, f"It left no {pattern}.\n{said}"

    def run(self, words: Sequence[str], pythonpath: str = "") -> str:
        """What a command says. Raises AssertionError where it fails or takes too long."""
        environment = dict(self.environment)
        if pythonpath:
            environment["PYTHONPATH"] += os.pathsep + pythonpath
        begun = time.monotonic()
        try:
            ended = subprocess.run(
                words, cwd=self.folder, env=environment, timeout=TIMEOUT, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            said = (late.stdout or b"").decode(errors="replace")  # bytes, whatever `text` says
            raise AssertionError(f"{shlex.join(words)}\n{late}\n{said}") from None
        said = f"$ {shlex.join(words)}\n{ended.stdout}"
        print(f"{time.monotonic() - begun:.1f} s\n{said}")
        assert ended.returncode == 0, f"exit code {ended.returncode}\n{said}"
        return ended.stdout

    def program(self, name: str, text: str) -> None:
        """Runs a Python program in the folder. Raises AssertionError where it fails."""
        (self.folder / name).write_text(text)
        self.run(["python", name])

    def _seen(self, pattern: str) -> set[tuple[Path, int]]:
        return {(path, path.stat().st_mtime_ns) for path in self.folder.glob(pattern)}

    def _substitute(self, word: str) -> str:
        if word != "3f9a...":
            return word
        self.provide(("agent.zip",))
        return hashlib.sha256((self.folder / "agent.zip").read_bytes()).hexdigest()

    def provide(self, words: Sequence[str]) -> None:
        """Makes what the command reads and nothing has made yet."""
        for before, word in zip(("", *words), words, strict=False):
            if word in STAND_INS and before != "--output":
                file, make = STAND_INS[word]
                if not (self.folder / file).exists():
                    make(self)


def _shortened(words: tuple[str, ...], budget: Budget) -> list[str]:
    if words[0] == "make" and budget.short:
        return [*words, f"ARGS={budget.short}"]
    return [*words, *budget.short.split()]


def _set_up(folder: Path) -> None:
    """What the Makefile would have made with pip, and no network."""
    venv = folder / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (venv / "bin" / "python").chmod(0o755)
    now = time.time()
    for age, stamp in ((2, ".installed"), (1, ".dev"), (0, ".gl")):
        (venv / stamp).touch()
        os.utime(venv / stamp, (now - age, now - age))
    for name in ("requirements.txt", "pyproject.toml", "install/gl.sh"):
        os.utime(folder / name, (now - 9, now - 9))


# -- the reader's own things ---------------------------------------------------------------------


def _agent(name: str) -> Callable[[Workplace], None]:
    return lambda workplace: workplace.program("make_agent.py", _AGENT.format(zip=name))


def _command(text: str) -> Callable[[Workplace], None]:
    """Another command of the toolkit, by its own budget."""

    def make(workplace: Workplace) -> None:
        words = tuple(text.split())
        budget = budget_of(words)
        assert budget is not None
        workplace.follow(Command(Fence("stand-in", 0, "bash", text), words), budget)

    return make


def _robot(module: str, name: str, body: str) -> Callable[[Workplace], None]:
    entry = f'gym.register("{name}-v0", entry_point="{module}:{name}", max_episode_steps=20)'

    def make(workplace: Workplace) -> None:
        text = _ROBOT.format(register=entry, name=name, body=body)
        (workplace.folder / f"{module}.py").write_text(text)

    return make


def _encoder(workplace: Workplace) -> None:
    (workplace.folder / "my_encoders.py").write_text(_ENCODER)


_PONG = (
    "python Train_Teacher/Atari.py --env Pong --output pong --total_timesteps 32 --n_steps 16 "
    "--n_epochs 1 --num_envs 2 --batch_size 32 --eval_every 1000 --eval_episodes 1 "
    "--baseline_episodes 1 --no_video --wandb disabled"
)


def _pong_teacher(workplace: Workplace) -> None:
    workplace.run(_PONG.split())
    shutil.copytree(workplace.folder / "pong" / "teacher", workplace.folder / "my_pong_teacher")


def _bundle(workplace: Workplace) -> None:
    teachers = workplace.folder / "Results" / "Pusher" / "teachers"
    shutil.copytree(teachers / "sac", workplace.folder / "BUNDLE")


def _episodes(workplace: Workplace) -> None:
    """A dataset of 34 whole episodes, the fewest that a linear probe takes."""
    command = "python Distillation/Pusher.py --C_data --num_data 3400 --threads 1 --output"
    workplace.run([*command.split(), "Results/Pusher/Dataset/100000"])


def _minari(workplace: Workplace) -> None:
    """What the documented import reads: an export of DIR."""
    workplace.provide(("DIR",))
    workplace.run(["python", "-m", "Enviroment.dataset", "export", "DIR", "mine-v1"])


_RUN = "python Distillation/Pusher.py --PPD --mode ImpaalaSmall"
_REACH = _robot("their_robots", "Reach", "gripper")
# A word of a command: the file that stands for it, and what makes it.
STAND_INS: dict[str, tuple[str, Callable[[Workplace], None]]] = {
    "my_agent.zip": ("my_agent.zip", _agent("my_agent.zip")),
    "agent.zip": ("agent.zip", _agent("agent.zip")),
    "my_package:MyArm-v0": ("my_package.py", _robot("my_package", "MyArm", "torso")),
    "their_robots:Reach-v0": ("their_robots.py", _REACH),
    "my_encoders:TinyEncoder": ("my_encoders.py", _encoder),
    "my_pong_teacher": ("my_pong_teacher", _pong_teacher),
    "RUN": ("RUN", _command(f"{_RUN} --output RUN")),
    "DIR": ("DIR", _command("python Distillation/Pusher.py --C_data --output DIR")),
    "BUNDLE": ("BUNDLE", _bundle),
    "mine-v1": ("../minari/mine-v1", _minari),
    "Results/Pusher/Dataset/100000": ("Results/Pusher/Dataset/100000", _episodes),
    # Evaluation's tools look at finished runs, of which a fresh checkout has none.
    "Results/Pusher": ("Results/Pusher/PPD", _command(_RUN)),
}
