"""Prefect flows and the command line: the only room that knows Prefect and the terminal."""
