"""Terms of whole-body tracking: the robot moves as a motion clip says."""
