"""How each Python block of README.md and docs/ is run: what comes before it, shorter numbers, and
what must hold after it.

A row holds for the block that has its words; the first row that fits counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.docs.documented_commands import Fence, documents, fences


@dataclass(frozen=True)
class Program:
    """What a block needs to run in seconds."""

    has: str  # words of the block
    before: str = ""  # what the reader has already
    shorter: dict[str, str] = field(default_factory=dict)  # text of the block: in its place
    after: str = ""
    needs: tuple[str, ...] = ()  # modules of an extra, without which it is skipped

    def complete(self, text: str) -> str:
        """The block as a program. Raises AssertionError where it lacks what is to be shorter."""
        for long, short in self.shorter.items():
            assert long in text, f"{long!r} is not in the program any more:\n{text}"
            text = text.replace(long, short)
        return f"{self.before}\n{text}\n{self.after}\n"


_IMPORTS = """
from pathlib import Path
import numpy as np
from Algorithm import PPD
from Enviroment import seeds
from Enviroment.make import make_env
from Enviroment.tasks import TASKS
from Models.student import StudentPolicy
from Models.teacher import Teacher
"""
_LEARNED = "assert student.num_timesteps == 128, student.num_timesteps"

_SHORT_RUN = (
    "num_envs=2, num_steps=4, batch_size=4, eval_episodes=1, final_episodes=1, threads=1, "
    'frame_size="16x16", video=False'
)
PROGRAMS = (
    Program(
        "make_worlds",
        shorter={"1024": "2", "64": "2", '"cuda"': '"cpu"'},
        after="assert env.reset()['frame'].shape[0] == 2",
        needs=("mujoco_warp",),
    ),
    Program(
        'method="PPD", mode="ImpaalaSmall", total_timesteps=350_000',
        shorter={"350_000": f"16, {_SHORT_RUN}"},
        after="assert student.groups == ('frame', 'proprio')",
    ),
    Program(
        "teacher=agent",
        shorter={"300_000": "1", "100_000": f"16, {_SHORT_RUN}", '"cpu"': '"cpu", n_steps=16'},
        after="assert student.task.name == 'Reacher'",
    ),
    Program(
        'camera="gripper"',
        shorter={
            "their_robots:Reach-v0": "Pusher-v5",
            '"gripper"': '"distance=2"',
            "0:7,14:21": "0:7",
            'teacher="teacher"': 'teacher="Results/Pusher/teachers/ppo"',
            'method="PPD"': f'method="PPD", total_timesteps=16, output="own", {_SHORT_RUN}',
        },
        after="assert student.task.custom",
    ),
    Program(
        "class TinyEncoder",
        after="""
import torch
assert TinyEncoder((4, 16, 16))(torch.zeros(2, 4, 16, 16)).shape[0] == 2
""",
    ),
    Program(
        "encoder=TinyEncoder",
        before="""
import pathlib
pathlib.Path("my_encoders.py").write_text('''
from torch import nn

class TinyEncoder(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(shape[0], 8, 5, stride=2), nn.ReLU(), nn.Flatten())

    def forward(self, frames):
        return self.net(frames / 255)
''')
""",
        shorter={'method="PPD"': f'method="PPD", total_timesteps=16, {_SHORT_RUN}'},
        after="assert student.policy.config.mode == 'my_encoders:TinyEncoder'",
    ),
    Program(
        "class ResNetEncoder",
        after="""
encoder = ResNetEncoder((12, 64, 64)).eval()
assert encoder(torch.zeros(2, 12, 64, 64)).shape == (2, 64)
""",
        needs=("torchvision",),
    ),
    Program(
        'output="my_first_student"',
        shorter={
            'first_student"': f'first_student", total_timesteps=16, {_SHORT_RUN}',
            "episodes=20": "episodes=1",
            "range(100)": "range(2)",
            '-v0"': '-v0", frame_size=(16, 16)',
        },
        after="assert obs['state'].shape == (23,) and student.folder.name == 'my_first_student'",
    ),
    Program(
        "gym.make_vec(",
        after="""
assert obs["frame"].shape == (12, 64, 64) and obs["proprio"].shape == (6,)
assert obs["state"].shape == (10,) and envs.reset(seed=0)[0]["frame"].shape == (4, 4, 64, 64)
""",
    ),
    Program(
        'save_student(model.policy, "my_student"',
        before=f"""{_IMPORTS}
env = make_env("Pusher", 1, 0)
model = PPD(StudentPolicy, env, teacher=Teacher.load("Results/Pusher/teachers/ppo"))
""",
        after="assert student.task.frame_interval == 2 and student.frame_shape == (1, 48, 48)",
    ),
    Program("student.act(obs", after="assert action.shape == (7,)"),
    Program(
        "evaluate(", shorter={"episodes=20": "episodes=1"}, after="assert figures['episodes'] == 1"
    ),
    Program(
        "np.load(",
        before="""
import numpy as np
frames, joints = np.zeros((300, 64, 80), np.uint8), np.random.normal(size=(300, 3))
np.savez("recording.npz", frames=frames, joints=joints, actions=joints[:, :2],
         episode_ends=np.arange(300) % 50 == 49)
""",
        shorter={"8_000": "2"},
        after="assert action.shape == (2,)",
    ),
    Program(
        'push("Results',
        after="assert student.groups == ('frame', 'proprio')",
        needs=("huggingface_hub",),
    ),
    Program(
        'from_lerobot("lerobot_steps"',
        before="""
from pathlib import Path
written = Path("tests/support/sharing/lerobot_written/image")
""",
        shorter={'"lerobot_steps"': "written", "8_000": "2"},
        after="assert student.frame_shape == (3, 64, 64)",
        needs=("pyarrow",),
    ),
    Program(
        "from_lerobot(",
        before="""
import numpy as np
dataset = {
    "observation.images.top": np.zeros((300, 3, 96, 128), np.uint8),
    "observation.state": np.random.normal(size=(300, 3)),
    "action": np.random.normal(size=(300, 2)),
    "episode_index": np.arange(300) // 50,
    "frame_index": np.arange(300) % 50,
}
""",
        shorter={"8_000": "2"},
        after="assert student.frame_shape == (3, 64, 64)",
    ),
    Program(
        "total_timesteps=300_000",
        shorter={"n_envs=18": "n_envs=2", "300_000": "128"},
        after=_LEARNED,
    ),
    Program(
        "StudentDistill(StudentPolicy",
        shorter={"n_envs=18": "n_envs=2", "350_000": "20"},
        after="assert student.num_timesteps == 20, student.num_timesteps",
    ),
    Program(
        "total_timesteps=34_560",
        shorter={"n_envs=18": "n_envs=2", "34_560": "128"},
        after=_LEARNED,
    ),
    Program(
        "BehaviouralCloning(policy, dataset",
        before=f"""{_IMPORTS}
env = make_env("Pusher", 1, 0)
space = env.observation_space
policy = PPD(StudentPolicy, env, teacher=Teacher.load("Results/Pusher/teachers/ppo")).policy
""",
        shorter={'CloningConfig(loss_type="KL")': 'CloningConfig("KL", 2, 4)'},
        after="""
again = BehaviouralCloning.load("my_clone", dataset)
assert again.num_timesteps == 2, again.num_timesteps
""",
    ),
    Program(
        '["action", "next_memory"]',
        before="""
import json
import numpy as np
import onnxruntime
from gymnasium import spaces
from Models.student.config import StudentConfig
from Models.student.deployed import to_onnx
from Models.student.policy import StudentPolicy

groups = {
    "frame": spaces.Box(0, 255, (4, 16, 16), np.uint8),
    "proprio": spaces.Box(-np.inf, np.inf, (3,), np.float32),
}
config = StudentConfig(recurrent="gru", recurrent_units=8)
box = spaces.Box(-1, 1, (2,), np.float32)
student = StudentPolicy(spaces.Dict(groups), box, lambda _: 0.0, config=config)
session = onnxruntime.InferenceSession(to_onnx(student), providers=["CPUExecutionProvider"])
about = {"memory": '{"shape": [8]}'}
""",
        after="""
frames, joints = np.zeros((1, 4, 16, 16), np.uint8), np.ones((1, 3), np.float32)
first, second = act(frames, joints), act(frames, joints)
assert first.shape == (1, 2) and (first != second).any() and memory.any()
""",
        needs=("onnx", "onnxruntime"),
    ),
    Program(
        "onnxruntime.InferenceSession",
        after="""
shapes = {name: group["shape"] for name, group in json.loads(about["inputs"]).items()}
channels, *size = shapes["frame"]
action = act(
    np.zeros((channels // stack, *size), np.uint8), np.zeros(shapes["proprio"], np.float32)
)
assert action.shape == (7,), action.shape
""",
        needs=("onnx", "onnxruntime"),
    ),
    Program(
        "torch.jit.load",
        before="""
import subprocess, sys, torch
export = "Evaluation.export Results/Pusher/students/ppd_small --format torchscript"
subprocess.run([sys.executable, "-m", *export.split(), "--output", "student.pt"], check=True)
frame, proprio = torch.zeros(3, 4, 64, 64, dtype=torch.uint8), torch.zeros(3, 17)
""",
        after="assert action.shape == (3, 7) and b'frame_stack' in texts['metadata.json']",
    ),
    Program(
        "with joined():",
        before=f"""{_IMPORTS}
teacher = Teacher.load("Results/Pusher/teachers/ppo")
callback = None
""",
        shorter={"36": "4", "1_000_000": "256"},
        after="assert student.num_timesteps == 256, student.num_timesteps",
    ),
    Program(
        "from Algorithm import ProximalPolicyDistillation",
        before="""
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

env = make_vec_env("Reacher-v5", 2)
teacher_model = PPO("MlpPolicy", env, n_steps=16, batch_size=16, device="cpu")
""",
        shorter={"2_000_000": "256"},
        after="""
import os
assert student.num_timesteps == 256 and os.path.isfile("distilled_model.ckpt")
""",
    ),
    Program(
        "PerturbedEnv(",
        before=f"""{_IMPORTS}
from Evaluation.evaluate import policy_act, run_episodes
from Evaluation.evaluate.perturbations import PerturbedEnv, on_group
from Models.student import load_student
student, task = load_student(Path("Results/Pusher/students/ppd_small")), TASKS["Pusher"]
changed = []

def my_change(frames):
    changed.append(frames.shape)
    return frames // 2
""",
        shorter={"10": "2", "20": "2"},
        after="assert len(stats.returns) == 2 and changed[0] == (2, 4, 64, 64), changed",
    ),
    Program(
        "run_jobs(",
        before="""
from pathlib import Path
Path("my_script.py").write_text("open('done', 'w')")

class Told:
    def started(self, job): pass
    def ended(self, ended, *, again, stopped): pass

watcher = Told()
""",
        after="assert Path('done').exists() and Path('a.log').exists()",
    ),
    Program(
        "CustomHopper-source-udr-v0",
        after="assert np.allclose(env.unwrapped.get_parameters(), [2.6, 4.1, 2.8, 5.3])",
        before="import numpy as np",
    ),
    Program(
        "from Algorithm import REINFORCE",
        before="import numpy as np\nobs = np.zeros(11)",
        shorter={"500_000": "50"},
        after="assert model.num_timesteps >= 50 and action.shape == (3,)",
    ),
    Program(
        "# their_robots.py",
        after='assert gym.spec("Reach-v0").max_episode_steps == 200',
    ),
    Program(
        "Task(",
        before="from Enviroment.tasks import Camera, Distance, Task\n",
    ),
)


def all_programs() -> list[Fence]:
    """Every Python block."""
    return [
        fence
        for document in documents()
        for fence in fences(document)
        if fence.language == "python"
    ]


def program_of(fence: Fence) -> Program | None:
    """The row of a block; None: there is none yet, or it is no Python."""
    if fence.language != "python":
        return None
    return next((program for program in PROGRAMS if program.has in fence.text), None)
