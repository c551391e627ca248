"""Control steps of all environments: the step itself, the drivers around it, metrics and the NaN guard."""
