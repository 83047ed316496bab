"""The six ALFWorld task families in a pure-Python household whose conventions are hidden."""
