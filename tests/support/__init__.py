"""Helpers of the tests, and data that they share.

| module | holds |
|---|---|
| `toy`, `toy_bridge`, `toy_task` | an analytic robot, bridge and task: the loop without a simulator |
| `biped` | a small MJCF robot with its record, for bridges |
| `stick_robot` | a record without physics, or with something to draw |
| `child`, `pair`, `programs` | training in processes of their own; programs compiled once for several tests |
| `checkpoints`, `policy_file`, `onnx_files` | a short run of the G1 and of FastSAC; policies as files |
| `foreign_files` | policies as other projects write them |
| `small`, `small_sac`, `golden` | small learners; recorded updates of holosoma |
| `traces`, `shared`, `compact` | recorded runs of holosoma: read, found, cut to ship |
| `terms`, `tracking`, `tracking_traces` | environments of few terms; the tracking task, small, and recorded |
| `motion_files`, `joblib_pickle` | a motion file of each format; a pickle as joblib writes it |
| `pages` | code blocks of the docs, written to files |
| `opened_runs`, `own_terms` | runs that are opened and left; environments with terms from elsewhere |
| `messages` | log messages of a run |
| `recorded` | the objects that a module makes of somebody else's class |
| `collectives` | `jax.pmap` on virtual devices, waited for |
| `dynamics` | rigid-body dynamics in NumPy, independent of MuJoCo |
| `browser`, `wandb_runs`, `replay_files` | a headless browser; a stand-in of the Weights & Biases API; recordings |
| `mistakes` | command lines with one mistake each |
| `python38`, `isaacgym_python` | an old interpreter for the workers of remote bridges |
| `usda` | a reader of the USD text that the robots are written as |
| `doubles/` | packages that stand in for simulators |
"""
