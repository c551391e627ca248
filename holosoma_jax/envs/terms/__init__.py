"""Terms: what robots are rewarded for, observe, are told and disturbed by; one module a kind, `term` the records."""
