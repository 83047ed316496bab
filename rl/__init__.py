"""The mathematics: advantages, gates, divergences, losses, statistics, convergence, checks and methods.

Nothing is imported here, so that reading the method registry costs no torch.
"""
