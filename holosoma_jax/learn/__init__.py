"""Learners as pure functions: PPO, FastSAC and what they share."""
