"""Control steps of all environments: the step itself, its two drivers, metrics, the NaN guard, random streams."""
