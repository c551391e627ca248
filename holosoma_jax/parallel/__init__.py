"""Multi-process and multi-device training: launching, joining, sharding and collectives."""
