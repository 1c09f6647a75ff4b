"""The JSON API of names.md, below `/api/v1`."""
