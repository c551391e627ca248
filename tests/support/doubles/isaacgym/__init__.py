"""A double of IsaacGym Preview 4 for tests, with MuJoCo for physics; runs on Python 3.8 and newer.

It has the calls that the bridge uses, and is strict where the real one fails silently or late. Each
behaviour says where it is known from:

[stubs]      isaacgym-stubs 1.1rc4: signatures, and NVIDIA's documentation in its docstrings
[docs]       NVIDIA's documentation of Preview 4 (Programming: Tensor API, Assets, Simulation)
[holosoma]   github.com/amazon-far/holosoma, src/holosoma/holosoma/simulator/isaacgym
[issue ...]  a public report
[assumed]    nobody has shown it; chosen so that relying on the opposite fails here

Nothing in it is NVIDIA's. What PhysX makes of contacts, what the importer makes of shapes, and anything
about CUDA is not imitated.
"""
