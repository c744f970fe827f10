"""Which libraries are loaded for games; without EnvPool and Qt, which are extras."""

import sys
from importlib import metadata, util
from types import ModuleType

import pytest

from Common.errors import UserError
from Enviroment.suites import envpool_games, procgen_libraries
from Enviroment.tasks import get_task


def test_without_envpool(monkeypatch):
    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "envpool" else find(name))
    with pytest.raises(UserError, match=r"Pong is played by EnvPool.*pip install '\.\[suites\]'"):
        envpool_games.load_envpool(get_task("Pong"))


def test_without_qt(monkeypatch, tmp_path):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(UserError, match=r"PyQt5-Qt5.*pip install '\.\[suites\]'"):
        procgen_libraries.load_qt.__wrapped__()
    monkeypatch.setattr(procgen_libraries, "_folder", lambda: tmp_path)
    with pytest.raises(UserError, match=r"libicudata\.so\.56.*cannot be loaded"):
        procgen_libraries.load_qt.__wrapped__()


@pytest.mark.parametrize("found", [True, False])
def test_the_wheel_of_qt_is_loaded_only_where_the_system_has_none(monkeypatch, found):
    """Two versions of Qt in one process print warnings with each frame, megabytes per minute."""
    procgen = ModuleType("envpool.procgen")
    if found:
        procgen.__dict__["ProcgenEnvSpec"] = object
    loaded: list[object] = []
    monkeypatch.setattr(util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "envpool", ModuleType("envpool"))
    monkeypatch.setitem(sys.modules, "envpool.procgen", procgen)
    monkeypatch.setattr(envpool_games, "load_qt", lambda: loaded.append("wheel"))
    monkeypatch.setattr(envpool_games.importlib, "reload", loaded.append)
    envpool_games.load_envpool(get_task("CoinRun"))
    assert loaded == ([] if found else ["wheel", procgen])
