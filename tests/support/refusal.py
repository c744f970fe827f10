"""How a command refuses bad input: exit code 2, and a message instead of a traceback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from Common.errors import EXIT_BAD_INPUT


def refusal(capsys: pytest.CaptureFixture[str], call: Callable[[], object]) -> str:
    """What a command that must be refused says on standard error."""
    with pytest.raises(SystemExit) as ended:
        call()
    assert ended.value.code == EXIT_BAD_INPUT == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error
