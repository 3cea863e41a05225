"""The plan found: prices of splits, the search, and what came of it."""
