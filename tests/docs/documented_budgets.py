"""How each documented command is run in seconds, or why it is not run.

A row holds for commands that have all of its words, in which * stands for anything; the first row
that fits counts. A command that no row fits, and a row that no command fits, fail the quick test.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Budget:
    """A kind of command, with the flags that are appended to it."""

    words: str
    short: str = ""
    leaves: tuple[str, ...] = ()  # globs; {output} is the value of the command's --output
    says: str = ""  # on stdout or stderr
    needs: tuple[str, ...] = ()  # modules of an extra, without which it is skipped
    not_run: str = ""  # the reason; then its flags alone are checked

    def fits(self, words: tuple[str, ...]) -> bool:
        return all(any(fnmatchcase(w, wanted) for w in words) for wanted in self.words.split())


_QUIET = "--no_video --wandb disabled"
# One number of environments for all: --resume and BC_phase compare.
_STUDENT = (
    "--total_timesteps 24 --num_envs 2 --num_steps 4 --batch_size 4 --num_epochs 1 "
    f"--eval_episodes 2 --final_episodes 2 --threads 1 --device cpu {_QUIET}"
)
_DISTIL = (
    "--total_timesteps 24 --num_envs 2 --num_steps 4 --eval_episodes 2 --final_episodes 2 "
    f"--threads 1 --device cpu {_QUIET}"
)
_ROUNDS = (
    "--rounds 1 --round_env_steps 200 --round_gradient_steps 4 --batch_size 4 --eval_episodes 2 "
    f"--final_episodes 2 --threads 1 {_QUIET}"
)
_CLONE = f"--optimization_steps 4 --batch_size 4 --eval_episodes 2 --final_episodes 2 {_QUIET}"
_TEACHER = f"--eval_every 1000 --eval_episodes 2 --baseline_episodes 2 --num_envs 2 {_QUIET}"
_PPO_TEACHER = f"{_TEACHER} --total_timesteps 40 --n_steps 10 --batch_size 20 --n_epochs 1"
_SAC_TEACHER = f"{_TEACHER} --total_timesteps 40 --learning_starts 20 --batch_size 8"
_STUDY = "--seeds 1 --test_episodes 2"
_GRID = (
    "--set methods=PPD sizes=smaller seeds=0 total_timesteps=24 num_envs=2 num_steps=4 "
    "batch_size=4 num_epochs=1 eval_episodes=2 final_episodes=2 device=cpu wandb=disabled "
    "video=false"
)
_TOOL = "--episodes 2 --threads 1"
_STUDENT_FILES = ("student/student.safetensors", "evaluation.json", "curves.png")
_STUDY_FILES = ("figure3_domain_transfer.png", "table.md", "study.json")
_TEACHER_FILES = ("teacher/teacher.safetensors", "teacher/teacher.json", "curves.png")


def _in(folder: str, files: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{folder}/{file}" for file in files)


_TO_OUTPUT = _in("{output}", _STUDENT_FILES)
_TO_RESULTS = _in("Results/*/*/*", _STUDENT_FILES)
_TEACHER_RESULTS = _in("Results/*/Teacher/*", _TEACHER_FILES)
_ENVPOOL = ("envpool",)
_OTHERS = "needs packages of others; make test-envs tries its environment"

BUDGETS = (
    Budget("make pusher", _STUDENT, _TO_RESULTS),
    Budget("make demo", "--episodes 2", ("Results/Pusher/demo/demo.mp4",)),
    Budget("make gpu-check", not_run="needs a GPU, and takes minutes"),
    Budget(
        "pip install *",
        not_run="asks the package index; install/release.py installs the wheel",
    ),
    Budget("docker *", not_run="needs Docker; test_image.py checks its steps"),
    # -- the console command
    Budget("vision-distillation --help", says="side-by-side"),
    Budget("vision-distillation demo", "--episodes 2", ("Results/Pusher/demo/demo.mp4",)),
    Budget("vision-distillation pusher --output", _STUDENT, _TO_OUTPUT),
    Budget("vision-distillation evaluate", _TOOL, says="return"),
    Budget("vision-distillation report", leaves=("{output}/index.html",)),
    Budget("make test", "tests/enviroment/test_seed_range.py", says="passed"),
    # -- environments that people bring
    Budget("python *Custom.py gymnasium_robotics:*", not_run=_OTHERS),
    Budget("python *Custom.py minigrid:*", not_run=_OTHERS),
    Budget("python *Custom.py benchmarks.environments.robosuite_lift:*", not_run=_OTHERS),
    Budget("python -m benchmarks.environments.lift_agent", not_run=_OTHERS),
    Budget("python *Custom.py LunarLander-v3", not_run=_OTHERS),
    Budget(
        "python Train_Teacher/Custom.py InvertedPendulum-v5",
        _PPO_TEACHER,
        _in("{output}", _TEACHER_FILES),
    ),
    Budget(
        "python Distillation/Custom.py InvertedPendulum-v5 --Dagger_phase",
        f"{_ROUNDS} --frame_size 16x16 --num_envs 2 --num_data 300 --optimization_steps 4",
        _TO_OUTPUT,
    ),
    # -- teachers
    Budget("python Train_Teacher/*.py --algo sac", _SAC_TEACHER, _TEACHER_RESULTS),
    Budget("python Train_Teacher/Pusher.py --algo ppo", _PPO_TEACHER, _TEACHER_RESULTS),
    Budget("python Train_Teacher/MuJoCo.py --env", _PPO_TEACHER, _TEACHER_RESULTS),
    Budget("python Train_Teacher/Hopper.py --algo ppo --domain", _PPO_TEACHER, _TEACHER_RESULTS),
    Budget(
        "python Train_Teacher/Procgen.py --env --output",
        f"{_PPO_TEACHER} --eval_episodes 1",
        _in("{output}", _TEACHER_FILES),
        needs=_ENVPOOL,
    ),
    Budget(
        "python Train_Teacher/Atari.py --env --output",
        f"{_PPO_TEACHER} --eval_episodes 1 --baseline_episodes 1",
        _in("{output}", _TEACHER_FILES),
        needs=_ENVPOOL,
    ),
    Budget(
        "python Train_Teacher/Hopper.py --algo reinforce --domain",
        f"--total_timesteps 100 --eval_every 1000 --eval_episodes 2 --baseline_episodes 2 {_QUIET}",
        _TEACHER_RESULTS,
    ),
    Budget(  # of PPO, because students learn from it afterwards; one rollout is 9216 steps
        "python Train_Teacher/Hopper.py --study --total_timesteps",
        f"{_STUDY} --algos ppo --total_timesteps 9216",
        _in("{output}", _STUDY_FILES),
    ),
    Budget(
        "python Train_Teacher/Hopper.py --study",
        f"{_STUDY} --algos reinforce --total_timesteps 150",
        _in("{output}", _STUDY_FILES),
    ),
    Budget(
        "python Train_Teacher/Hopper.py --students",
        leaves=_in("{output}", ("figure4_sizes.png", "students.md", "students.json")),
    ),
    Budget(
        "python -m Models.teacher convert --output",
        leaves=_in("{output}", ("teacher.safetensors", "teacher.json")),
    ),
    Budget("python -m Models.teacher inspect", says="SHA-256"),
    Budget(
        "python -m Distillation.imitability",
        not_run="its budget is fixed; tests/distillation/test_imitability.py makes it smaller",
    ),
    Budget("sha256sum", says="  "),
    # -- students
    Budget("python Distillation/Pusher.py --backbone", not_run="torchvision and its weights"),
    Budget(
        "python Distillation/Custom.py tests.support.memory.cue_env:Cue-v0",
        not_run="tests/distillation/runs/test_memory_task.py does, with the teacher that it needs",
    ),
    Budget("python Distillation/Custom.py --look", leaves=("look.png",)),
    Budget(
        "python Distillation/Atari.py --PPD",
        f"{_STUDENT} --total_timesteps 8 --eval_episodes 1 --final_episodes 1",
        _TO_RESULTS,
        needs=_ENVPOOL,
    ),
    Budget("python Distillation/Procgen.py --PPD", _STUDENT, _TO_RESULTS, needs=_ENVPOOL),
    Budget(
        "python Distillation/*.py --C_data --BC_phase --Dagger_phase --output",
        f"{_ROUNDS} --num_data 300 --optimization_steps 4",
        (*_TO_OUTPUT, "{output}/data/manifest.json"),
    ),
    Budget(
        "python Distillation/*.py --C_data --output",
        "--num_data 300 --threads 1",
        ("{output}/manifest.json",),
    ),
    Budget(  # where --dataset 50k will look for it
        "python Distillation/*.py --C_data",
        "--num_data 300 --threads 1 --output Results/Pusher/Dataset/50000",
        ("Results/Pusher/Dataset/50000/manifest.json",),
    ),
    Budget("python Distillation/*.py --BC_phase --output", f"{_CLONE} --threads 1", _TO_OUTPUT),
    Budget("python Distillation/*.py --Dagger_phase --output", _ROUNDS, _TO_OUTPUT),
    Budget("python Distillation/*.py --Dagger_phase", _ROUNDS, _TO_RESULTS),
    Budget("python Distillation/*.py --?distillation --output", _DISTIL, _TO_OUTPUT),
    Budget("python Distillation/*.py --?distillation", _DISTIL, _TO_RESULTS),
    Budget("python Distillation/*.py --PPD --resume", _STUDENT, says="finished"),
    # -- grids, and several processes
    Budget("python Distillation/sweep.py --dry_run", says="Distillation/MuJoCo.py"),
    Budget(
        "python Distillation/sweep.py --ray_address",
        not_run="joins a Ray cluster of other machines; test_sweep_ray.py runs grids on Ray",
    ),
    Budget(
        "python Distillation/sweep.py *_methods.yaml",
        not_run="no one budget suits its six methods; test_sweep_grid.py checks its commands",
    ),
    Budget("python Distillation/sweep.py --output", _GRID, ("{output}/*/*/*/evaluation.json",)),
    Budget("python Distillation/sweep.py", _GRID, ("Results/sweeps/*/*/*/*/evaluation.json",)),
    Budget("ray start", not_run="leaves daemons behind, and --address wants another machine"),
    Budget("torchrun --nnodes", not_run="needs a second machine"),
    Budget("torchrun Distillation/*.py --PPD --output", _STUDENT, _TO_OUTPUT),
    Budget("torchrun Distillation/*.py --PPD", _STUDENT, _TO_RESULTS),
    # -- the on-policy methods
    Budget("python Distillation/*.py --output", _STUDENT, _TO_OUTPUT),
    Budget("python Distillation/*.py", _STUDENT, _TO_RESULTS),
    # -- datasets
    Budget("python -m Enviroment.dataset info", leaves=("*/contact_sheet.png",)),
    Budget("python -m Enviroment.dataset verify", says="every shard matches"),
    Budget("python -m Enviroment.dataset repair", says="nothing to repair"),
    Budget("python -m Enviroment.dataset export", says="Written to", needs=("minari",)),
    Budget(
        "python -m Enviroment.dataset import", leaves=("{output}/manifest.json",), needs=("minari",)
    ),
    Budget(
        "python -m Enviroment.dataset export-lerobot",
        leaves=("lerobot_steps/meta/info.json",),
        needs=("pyarrow",),
    ),
    Budget(
        "python -m Enviroment.dataset import-lerobot",
        leaves=("{output}/manifest.json",),
        needs=("pyarrow",),
    ),
    # -- sharing
    Budget(
        "python -m Sharing.push --output",
        leaves=("{output}/README.md", "{output}/student.safetensors"),
        needs=("huggingface_hub",),
    ),
    Budget("python -m Sharing.*", not_run="needs the Hub; tests/sharing has a stand-in"),
    # -- evidence
    Budget("python -m Evaluation.blind", "--episodes 2", ("Results/*/teachers/*/teacher.json",)),
    Budget("python -m Evaluation.evaluate --output", _TOOL, ("{output}",)),
    Budget("python -m Evaluation.evaluate", _TOOL, says="return"),
    Budget("python -m Evaluation.demo", "--episodes 2", ("Results/Pusher/demo/demo.mp4",)),
    Budget("python -m Evaluation.table --format csv", says=",PPD,"),
    Budget("python -m Evaluation.table", says="| PPD |"),
    Budget("python -m Evaluation.pack", not_run="it needs finished runs of a grid"),
    Budget("python -m Evaluation.plots", leaves=("{output}",)),
    Budget("python -m Evaluation.report", leaves=("{output}/index.html",)),
    Budget(
        "python -m Evaluation.side_by_side --gif",
        "--height 64",
        ("side_by_side.mp4", "side_by_side.gif", "side_by_side.json"),
    ),
    Budget("python -m Evaluation.sight", _TOOL, ("**/diagnostics/sight.json",)),
    Budget("python -m Evaluation.look", leaves=("{output}",)),
    Budget("python -m Evaluation.robustness", _TOOL, ("**/robustness.json", "**/robustness.png")),
    Budget("python -m Evaluation.saliency", "--threads 1", ("**/saliency.mp4", "**/saliency.png")),
    Budget(
        "python -m Evaluation.gallery",
        "--episodes 2 --worst 1 --best 1 --height 64",
        ("**/gallery/gallery.json", "**/gallery/seed_*.mp4"),
    ),
    Budget("python -m Evaluation.linear_probe --dataset", says="R^2"),
    Budget("python -m Evaluation.linear_probe --task", "--episodes 8", says="R^2"),
    Budget(
        "python -m Evaluation.export --format onnx",
        leaves=("{output}",),
        needs=("onnx", "onnxruntime"),
    ),
    Budget("python -m Evaluation.export --format bundle", leaves=("{output}/student.safetensors",)),
)


def budget_of(words: tuple[str, ...]) -> Budget | None:
    """The row of a command; None: there is none yet."""
    return next((budget for budget in BUDGETS if budget.fits(words)), None)
