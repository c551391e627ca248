"""Learners: pure functions of arrays, which know nothing of environments, simulators or loops."""
