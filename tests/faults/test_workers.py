"""Workers that die, hang or raise: the error names the environment and the cause, in every kind.

`TIMEOUT` is short, so that a worker that hangs is noticed soon; what dies or is stopped must be
noticed without it.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import select
import signal
import subprocess
import sys
import traceback

import numpy as np
import pytest

from Common.errors import UserError, WorkerError
from Common.places import ROOT
from Enviroment.make import make_env
from tests.support.faults.faulty_env import (
    BLOCK,
    EXIT,
    FAULTY,
    GO_ON,
    KILL,
    RAISE,
    STILLBORN,
    STOP,
    released,
)

TIMEOUT = 1.0  # s
LONG = 3600.0  # s: a test that waited for it would be ended by pytest's own time-out
WHERE = r"Environment 2 of task Faulty \(.*TestFaulty-v0\)"

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def faulty_env(kind, timeout):
    """Four environments, two a worker."""
    return make_env(FAULTY, 4, 0, blind=True, workers=kind, n_workers=2, worker_timeout=timeout)


def do(env, what):
    """A step in which environment 2, the first of the second worker's, does `what`."""
    actions = np.full((4, 1), GO_ON, np.float32)
    actions[2] = what
    env.step(actions)


@pytest.fixture
def release():
    """Ends the threads that a test left blocked."""
    released.clear()
    yield
    released.set()


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_an_exception_names_the_environment_and_keeps_its_traceback(kind):
    env = faulty_env(kind, LONG)
    env.reset()
    place = r"ZeroDivisionError: on purpose \(faulty_env.py, line \d+\)"
    with pytest.raises(WorkerError, match=f"{WHERE} failed in step: {place}") as caught:
        do(env, RAISE)
    text = "".join(traceback.format_exception(caught.value))
    assert 'raise ZeroDivisionError("on purpose")' in text
    assert isinstance(caught.value, UserError)  # entry points turn it into a message
    env.reset()  # the others have ended their step, so all can go on
    do(env, GO_ON)
    env.close()


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_sys_exit_in_an_environment_is_an_error(kind):
    env = faulty_env(kind, LONG)
    env.reset()
    with pytest.raises(WorkerError, match=f"{WHERE} failed in step: SystemExit: 7"):
        do(env, EXIT)
    env.close()


def test_a_killed_process_is_named_with_its_signal():
    env = faulty_env("process", LONG)
    env.reset()
    pids = {child.pid for child in mp.active_children()}
    message = rf"{WHERE} died in step: worker process (\d+) \(environments 2 to 3\) was .* SIGKILL"
    with pytest.raises(WorkerError, match=message) as caught:
        do(env, KILL)
    assert any(f"process {pid} " in str(caught.value) for pid in pids)
    with pytest.raises(WorkerError, match=r"The workers are closed after: .*SIGKILL"):
        do(env, GO_ON)
    with pytest.raises(WorkerError, match="The workers are closed"):
        env.get_attr("render_mode")
    env.close()
    assert mp.active_children() == []


def test_a_process_killed_between_steps_is_named():
    env = faulty_env("process", LONG)
    env.reset()
    victim = mp.active_children()[0]
    victim.kill()
    victim.join()
    with pytest.raises(WorkerError, match=rf"Environment \d of .* died .*{victim.pid}.*SIGKILL"):
        do(env, GO_ON)
    env.close()
    assert mp.active_children() == []


def test_a_process_that_does_not_start_is_named_with_help():
    message = r"Environment \d of task Stillborn .* died in its start: .* code 3\. .*__main__"
    with pytest.raises(WorkerError, match=message):
        make_env(STILLBORN, 2, 0, blind=True, workers="process", n_workers=2)
    assert mp.active_children() == []


@linux_only
def test_a_stopped_process_is_noticed_without_the_timeout():
    env = faulty_env("process", LONG)
    env.reset()
    with pytest.raises(WorkerError, match=f"{WHERE} hangs in step: .* is stopped .SIGSTOP"):
        do(env, STOP)
    env.close()
    assert mp.active_children() == []


@linux_only
def test_a_process_that_is_stopped_between_steps_is_named():
    env = faulty_env("process", LONG)
    env.reset()
    victim = mp.active_children()[0]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGSTOP)
    with pytest.raises(WorkerError, match=rf"Environment \d of .* hangs in step: .*{victim.pid}"):
        do(env, GO_ON)
    env.close()
    assert mp.active_children() == []


def test_a_blocked_process_is_ended_after_the_timeout():
    env = faulty_env("process", TIMEOUT)
    env.reset()
    with pytest.raises(WorkerError, match=f"{WHERE} hangs in step: no answer for 1 s"):
        do(env, BLOCK)
    env.close()
    assert mp.active_children() == []


def test_a_blocked_thread_is_named_with_its_place_and_does_not_block_close(release):
    env = faulty_env("thread", TIMEOUT)
    env.reset()
    message = rf"{WHERE} hangs in step: no answer for 1 s from .* environments 2 to 3, .*line \d+"
    with pytest.raises(WorkerError, match=message):
        do(env, BLOCK)
    with pytest.warns(RuntimeWarning, match="environments 2 to 3 hangs. It keeps its resources"):
        env.close()
    env.close()


def test_a_failure_wins_over_a_worker_that_then_hangs(release):
    env = faulty_env("thread", TIMEOUT)
    env.reset()
    with pytest.raises(WorkerError, match=f"{WHERE} failed in step: ZeroDivisionError"):
        env.step(np.array([[BLOCK], [GO_ON], [RAISE], [GO_ON]], np.float32))
    with pytest.warns(RuntimeWarning, match="environments 0 to 1 hangs"):
        env.close()


def test_an_answer_that_cannot_be_sent_is_an_error_and_the_worker_goes_on():
    env = faulty_env("process", LONG)
    env.reset()
    with pytest.raises(RuntimeError, match="its answer cannot be pickled"):
        env.env_method("get_unpicklable", indices=1)
    do(env, GO_ON)
    env.close()


@pytest.mark.parametrize("kind", ["serial", "thread", "process"])
def test_a_missing_attribute_is_an_attribute_error(kind):
    env = faulty_env(kind, LONG)
    assert env.has_attr("render_mode")
    assert not env.has_attr("no_such_attribute")  # SB3 catches AttributeError alone
    env.close()


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_bad_timeouts(timeout):
    with pytest.raises(UserError, match=r"worker_timeout` .* more than 0 seconds"):
        faulty_env("thread", timeout)


ORPHANS = """
if __name__ == "__main__":  # the workers import what stands above this
    import multiprocessing as mp
    import signal
    import sys
    import numpy as np
    from Enviroment.make import make_env
    from tests.support.faults.faulty_env import BLOCK, FAULTY

    env = make_env(FAULTY, 2, 0, blind=True, workers="process", n_workers=2)
    env.reset()
    print(*(child.pid for child in mp.active_children()), flush=True)
    if sys.argv[1] == "blocked":
        env.step(np.full((2, 1), BLOCK))
    signal.pause()
"""


@linux_only
@pytest.mark.parametrize("state", ["waiting", "blocked"])
def test_processes_end_with_a_killed_parent(state, tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    parent = subprocess.Popen(
        [sys.executable, str(script), state],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    children = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    for child in children:
        poll = select.poll()
        poll.register(child, select.POLLIN)  # readable once the process has ended
        assert poll.poll(60_000), "a worker outlived its parent"
        os.close(child)
