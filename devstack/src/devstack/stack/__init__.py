"""The whole stack of one checkout, and the commands that start and stop it."""
