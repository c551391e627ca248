"""The live viewer, as a web page or a window, in a process of its own."""
