"""Where the words are by which threads of a pool find work; all int64, in one array."""

LINE = 8
"""Words of a line of the cache."""
STATE, NEXT, FUNCTION = 0, LINE, 2 * LINE
"""Where the words are by which threads find ranges of a kernel (see `ranges`)."""
CALLED, IDLE = 3 * LINE, 3 * LINE + 1
"""Whether Python calls a thread, and whether it sleeps; a line further for the next one."""
