"""Learn from rollouts: PPD, PPO, student-distill and teacher-distill."""
