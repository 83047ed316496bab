"""A trip-planning assistant with JSON tool calls, in companies whose conventions are hidden."""
