"""Pictures of a run: scenes, videos, contact sheets and recorded trajectories."""
