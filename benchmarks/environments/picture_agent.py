"""Save an agent of Stable-Baselines3 that observes pictures, without training it.

Usage: python -m benchmarks.environments.picture_agent FOLDER ENV_ID
"""

from __future__ import annotations

import sys
from pathlib import Path

from stable_baselines3 import PPO


def main(folder: Path, env_id: str) -> None:
    """Write `folder/agent.zip`."""
    folder.mkdir(parents=True, exist_ok=True)
    PPO("CnnPolicy", env_id, n_steps=8, batch_size=8, seed=0, device="cpu").save(
        folder / "agent.zip"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
