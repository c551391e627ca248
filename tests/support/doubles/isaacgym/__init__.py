"""A double of IsaacGym Preview 4 for tests, with MuJoCo for physics; runs on Python 3.8 and newer.

It has the calls that the bridge uses, and is strict where the real one fails silently or late. Each
behaviour says where it is known from:

[stubs]      isaacgym-stubs 1.1rc4: names, parameters, and NVIDIA's descriptions in its docstrings
[docs]       NVIDIA's documentation of Preview 4, which comes with it (Programming: Tensor API, Assets, Simulation);
             as public code and reports quote it: we do not have it
[holosoma]   github.com/amazon-far/holosoma, src/holosoma/holosoma/simulator/isaacgym/isaacgym.py
[issue ...]  a public report, by repository and number
[forum N]    forums.developer.nvidia.com/t/N
[assumed]    nobody has shown it; chosen so that relying on the opposite fails here
[test]       no claim about IsaacGym: a means of the tests

A tag holds for the statement that it follows, in a docstring for the function.
Nothing in it is NVIDIA's. What PhysX makes of contacts, what the importer makes of shapes, and anything
about CUDA is not imitated.
"""
