"""Many copies (worlds) of one task, stepped and drawn together by mujoco-warp."""
