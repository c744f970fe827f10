"""Hoppers for the domain study: a source with too light a torso, and a nominal target.

Importing this module registers, with Gymnasium and a time limit of 1000 env steps:

| id | torso | other links |
|---|---|---|
| CustomHopper-source-v0 | 30 percent lighter | nominal |
| CustomHopper-target-v0 | nominal | nominal |
| CustomHopper-source-udr-v0 | 30 percent lighter | each times U[0.7, 1.3], redrawn per episode |

`gym.make("Enviroment.hopper:CustomHopper-source-v0")` imports this module by itself. Everything
else is Gymnasium's Hopper-v5; the target equals Hopper-v5 bit-for-bit.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any, Literal, get_args

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.utils import EzPickle
from numpy.typing import ArrayLike, NDArray

from Common.errors import UserError

Domain = Literal["source", "target"]

LINKS = ("torso", "thigh", "leg", "foot")  # the order of parameters
SOURCE_TORSO_SCALE = 0.7  # of the nominal mass
UDR_RANGE = (0.7, 1.3)  # of the nominal mass, for every link but the torso
TIME_LIMIT = 1000  # env steps, as Hopper-v5


class CustomHopper(HopperEnv):
    """Hopper-v5 whose link masses can be read, set and randomised.

    A link's inertia is scaled with its mass, as if its density had changed: MuJoCo computes inertia
    when it compiles the model, so a changed mass alone would imply another shape. Constants that
    MuJoCo derives from both are recomputed.

    `info["parameters"]` of `reset` holds the masses of the episode, float64 (4,), in kg.

    Args:
        domain: "source", with a torso 30 percent lighter, or "target", with nominal masses.
        udr: uniform domain randomisation: `reset` scales each link except the torso by
            U[0.7, 1.3], drawn from `np_random`, so that the seed of the reset determines it.
        hopper: arguments of HopperEnv, such as `render_mode`; any other name is a TypeError.

    Raises:
        UserError: the domain is unknown.
    """

    def __init__(self, domain: Domain = "target", udr: bool = False, **hopper: Any) -> None:
        if domain not in get_args(Domain):
            raise UserError(f"Unknown Hopper domain {domain!r}: give source or target.")
        super().__init__(**hopper)
        EzPickle.__init__(self, domain, udr, **hopper)  # HopperEnv recorded only its own arguments
        self.domain = domain
        self.udr = udr
        self._bodies = np.array([self.model.body(name).id for name in LINKS])
        self._nominal_masses = self.model.body_mass[self._bodies].copy()  # (4,) kg
        self._nominal_inertia = self.model.body_inertia[self._bodies].copy()  # (4, 3) kg m^2
        # `mj_setConst` leaves the data that it computes with in the model's rest pose.
        self._scratch = mujoco.MjData(self.model)
        self._domain_masses = self._nominal_masses.copy()
        if domain == "source":
            self._domain_masses[LINKS.index("torso")] *= SOURCE_TORSO_SCALE
            self.set_parameters(self._domain_masses)

    def get_parameters(self) -> NDArray[np.float64]:
        """Return the masses of torso, thigh, leg and foot: (4,), in kg."""
        return self.model.body_mass[self._bodies]

    def set_parameters(self, masses: ArrayLike) -> None:
        """Set the masses of the links, and scale their inertia, from the next step on.

        Without UDR they stay until they are set again; with it, until the next reset.

        Args:
            masses: masses of torso, thigh, leg and foot: (4,), in kg.

        Raises:
            UserError: the masses are not four positive finite numbers.
        """
        values = np.asarray(masses, np.float64)
        if values.shape != (len(LINKS),) or not (np.isfinite(values) & (values > 0)).all():
            raise UserError(
                f"The Hopper's parameters are the masses of {', '.join(LINKS)}: four positive "
                f"numbers in kg, not {np.array2string(values, threshold=8)}."
            )
        scale = values / self._nominal_masses
        self.model.body_mass[self._bodies] = values
        self.model.body_inertia[self._bodies] = scale[:, None] * self._nominal_inertia
        mujoco.mj_setConst(self.model, self._scratch)
        # The solver's tolerance is relative to it, and `mj_setConst` does not update it.
        self.model.stat.meaninertia = self.model.dof_M0.mean()

    def sample_parameters(self) -> NDArray[np.float64]:
        """Draw the masses of one UDR episode from `np_random`: (4,), in kg. Do not set them."""
        masses = self._domain_masses.copy()
        others = [i for i, name in enumerate(LINKS) if name != "torso"]
        masses[others] *= self.np_random.uniform(*UDR_RANGE, size=len(others))
        return masses

    def reset_model(self) -> NDArray[np.float64]:
        # Masses first: derived quantities of the state and MuJoCo's warm start depend on them.
        if self.udr:
            self.set_parameters(self.sample_parameters())
        return super().reset_model()

    def _get_reset_info(self) -> dict[str, Any]:
        return {**super()._get_reset_info(), "parameters": self.get_parameters()}


def _register(variant: str, domain: Domain, udr: bool) -> None:
    gym.register(
        id=f"CustomHopper-{variant}-v0",
        entry_point="Enviroment.hopper:CustomHopper",
        max_episode_steps=TIME_LIMIT,
        kwargs={"domain": domain, "udr": udr},
    )


_register("source", "source", udr=False)
_register("target", "target", udr=False)
_register("source-udr", "source", udr=True)
