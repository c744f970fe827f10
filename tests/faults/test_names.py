"""Names that spoil a picture or a file, and folders that go away: no run is lost by them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from Common.commands.exits import exit_with_message
from Common.errors import UserError
from Common.files.locks import check_in_place, locked
from Common.runs.run_folder import locate
from Enviroment.dataset.collect import check_folder
from Evaluation.evaluate.callbacks import EvaluationCallback
from Evaluation.plots import run_curves as plots
from Evaluation.plots.picture import write_picture
from tests.support.refusal import refusal
from tests.support.short_run import outcome

FORMULAS = [r"$\foo$", r"a$b$c", r"$\frac{$", "$", r"100 \$ $x$"]


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_names_are_drawn_as_they_are(name, suffix, tmp_path):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 10, 100], [1, 2, 300], label=name)
    axes.set_xticks([1, 100], [name, name])
    axes.set_title(name)
    axes.legend()
    axes.set_yscale("log")
    figure.suptitle(name)
    path = write_picture(figure, tmp_path / f"figure.{suffix}", dpi=60)
    assert path.stat().st_size > 1000
    ticks = [label for label in axes.yaxis.get_ticklabels() if "mathdefault" in label.get_text()]
    assert ticks and all(label.get_parse_math() for label in ticks)  # 10 to the power of 2


def test_a_formula_for_a_name_is_the_same_picture_as_escaped_dollars(tmp_path):
    """Matplotlib draws an escaped dollar, and nothing but that, as a dollar."""
    pictures = []
    for i, name in enumerate((r"$x$", r"\$x\$")):
        figure = Figure()
        figure.suptitle(name)
        if i == 0:
            write_picture(figure, tmp_path / "0.png", dpi=60)
        else:
            figure.savefig(tmp_path / "1.png", dpi=60)
        pictures.append((tmp_path / f"{i}.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_a_run_with_a_formula_for_a_name_is_finished(pusher: Callable[..., Path], tmp_path):
    folder = tmp_path / r"$\foo$"
    pusher("--PPD", "--mode", "State", "--output", str(folder))
    assert (folder / "curves.png").is_file()
    assert (folder / "checkpoints" / "finished").is_file()


BYTES = "run_\udcff"  # as Python reads a name of the byte 255


@pytest.mark.parametrize("use", [lambda name: locate(Path(name), Path("x")), check_folder])
def test_names_that_are_not_utf8_are_refused(use, tmp_path):
    with pytest.raises(UserError, match=r"run_\\\\udcff' holds bytes that are not UTF-8"):
        use(tmp_path / BYTES)


def test_arguments_that_are_not_utf8_are_refused(monkeypatch, capsys):
    def command() -> None:
        with exit_with_message():
            raise AssertionError("it has begun")

    monkeypatch.setattr(sys, "argv", ["tool", "--teacher", BYTES])
    assert "The argument" in refusal(capsys, command)


def test_whatever_the_curves_raise_is_one_warning(tmp_path, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("in somebody's code")

    monkeypatch.setattr(plots, "draw_curves", fail)
    assert plots.curves_or_warning(tmp_path) is None
    assert capsys.readouterr().err == "No curves: in somebody's code\n"


# -- the folder goes away -----------------------------------------------------------------------


def move(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def replace_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / ".lock").touch()


@pytest.mark.parametrize("how", [move, shutil.rmtree, replace_folder])
def test_a_locked_folder_that_goes_away_is_noticed(how, tmp_path):
    folder, other = tmp_path / "run", tmp_path / "other"
    with locked(folder), locked(other):
        check_in_place(folder / "checkpoints")
        how(folder)
        check_in_place(other / "checkpoints")
        with pytest.raises(UserError, match="run was moved, deleted or replaced"):
            check_in_place(folder / "checkpoints")
    assert (folder / ".lock").exists() == (how is replace_folder)  # the other's lock stays
    check_in_place(folder / "checkpoints")  # nobody has it now


def test_a_run_whose_folder_is_moved_stops_and_goes_on_elsewhere(
    pusher: Callable[..., Path], tmp_path, monkeypatch, capsys
):
    """It is moved in the middle, before an evaluation that would save the best student."""
    flags = ("--PPD", "--mode", "State", "--checkpoint_every", "8", "--eval_every", "8")
    pusher(*flags, "--output", str(tmp_path / "whole"))
    folder = tmp_path / "run"
    start = EvaluationCallback._on_rollout_end

    def moving(self: EvaluationCallback) -> None:
        if self.model.num_timesteps >= 16 and folder.is_dir():
            move(folder)
        start(self)

    monkeypatch.setattr(EvaluationCallback, "_on_rollout_end", moving)
    said = refusal(capsys, lambda: pusher(*flags))
    assert "was moved, deleted or replaced" in said
    assert not folder.exists()
    monkeypatch.undo()
    pusher(*flags, "--output", str(tmp_path / "moved"), "--resume")
    assert outcome(tmp_path / "moved") == outcome(tmp_path / "whole")
