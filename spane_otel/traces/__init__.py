"""Over one trace: the tree of its spans, where it went wrong, and the rows of a timeline. Pure functions."""
