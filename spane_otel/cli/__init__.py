"""The command `spane-otel`: one module per command."""
