"""The commands of `sdar`, one module per group. Heavy imports are inside functions."""
