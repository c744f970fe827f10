"""The Hub of these tests: a stand-in on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.sharing.stand_in_hub import TOKEN, StandIn, stand_in_hub


@pytest.fixture
def hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandIn]:
    """Point huggingface_hub at a stand-in, with a token that may write there."""
    pytest.importorskip("huggingface_hub", reason="the Hub is optional")
    from huggingface_hub import constants

    cache = tmp_path_factory.mktemp("hub_cache")
    with stand_in_hub() as state:
        monkeypatch.setattr(constants, "ENDPOINT", state.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", state.url + template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield state
