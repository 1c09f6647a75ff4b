"""The OTLP wire: bytes of requests and responses ⇄ rows."""
