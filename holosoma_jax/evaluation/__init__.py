"""How well a policy does: metrics over many environments, perturbations, reports and plots."""
