"""The workflow that `spane-otel demo` runs: the source files of Python's standard library, analysed."""
