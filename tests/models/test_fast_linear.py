"""Linear layers by oneDNN against float64."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from Models.networks import fast_linear
from Models.networks.fast_linear import FastLinear, speed_up


@pytest.fixture
def on_amd(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that gains, whatever this one is."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(fast_linear, "_mkl_is_slow", lambda: True)
    monkeypatch.setattr(fast_linear, "_WORTH_IT", 64 * 16 * 8)


@pytest.fixture
def onednn_calls(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What was brought to oneDNN."""
    calls: list[Tensor] = []
    original: Callable[..., Tensor] = Tensor.to_mkldnn

    def noted(self: Tensor) -> Tensor:
        calls.append(self)
        return original(self)

    monkeypatch.setattr(Tensor, "to_mkldnn", noted)
    return calls


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.mark.usefixtures("on_amd")
def test_output_and_gradients_are_those_of_float64(onednn_calls: list[Tensor]) -> None:
    fast, exact = network(), network().double()
    speed_up(fast)
    x = torch.randn(64, 16)
    x32, x64 = x.clone().requires_grad_(), x.double().requires_grad_()
    outputs = fast(x32), exact(x64)
    for output in outputs:
        output.square().sum().backward()
    assert len(onednn_calls) == 1  # the first layer; the second is too small
    torch.testing.assert_close(outputs[0].double(), outputs[1], rtol=1e-5, atol=1e-5)
    ours, theirs = (
        [net_x.grad, *(p.grad for p in net.parameters())]
        for net, net_x in ((fast, x32), (exact, x64))
    )
    for a, b in zip(ours, theirs, strict=True):
        assert a is not None
        assert b is not None
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("on_amd")
@pytest.mark.parametrize("case", ["a small batch", "float64", "autocast"])
def test_what_onednn_is_not_for_is_an_ordinary_layer(case: str, onednn_calls: list[Tensor]) -> None:
    fast = network()
    plain = copy.deepcopy(fast)
    speed_up(fast)
    x = torch.randn(63 if case == "a small batch" else 64, 16)
    if case == "float64":
        fast, plain, x = fast.double(), plain.double(), x.double()
    with torch.autocast("cpu", enabled=case == "autocast"):
        assert torch.equal(fast(x), plain(x))
    assert not onednn_calls


@pytest.mark.usefixtures("on_amd")
def test_parameters_and_names_stay() -> None:
    fast = network()
    before = list(fast.parameters())
    names = list(fast.state_dict())
    speed_up(fast)
    assert isinstance(fast[0], FastLinear)
    assert all(a is b for a, b in zip(before, fast.parameters(), strict=True))
    assert list(fast.state_dict()) == names


def test_other_processors_keep_their_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_linear, "_mkl_is_slow", lambda: False)
    fast = network()
    speed_up(fast)
    assert type(fast[0]) is nn.Linear
