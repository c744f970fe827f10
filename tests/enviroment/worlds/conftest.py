"""The devices on which worlds are tested: the processor, and a GPU where there is one."""

import pytest
import torch


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each test with this fixture runs once per device."""
    return torch.device(request.param)
