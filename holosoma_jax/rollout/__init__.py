"""Control steps of all environments: the step itself, its drivers, metrics, the NaN guard, random streams."""
