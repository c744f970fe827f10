"""No file can run code: each kind that is read refuses a payload, and nothing of it runs."""

from __future__ import annotations

import pickle

import pytest

from Common.errors import UserError
from tests.support.faults.payloads import FILES, Payload


def test_the_payload_works(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("kind", FILES)
def test_a_payload_is_refused_unread(kind, tmp_path):
    (tmp_path / "files").mkdir()
    read = FILES[kind](tmp_path / "files", Payload(tmp_path / "ran"))
    with pytest.raises(UserError) as refusal:
        read()
    assert not (tmp_path / "ran").exists()
    assert "weights_only" not in str(refusal.value)  # torch's advice to trust the file
