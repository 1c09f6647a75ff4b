"""The service: OTLP in, UI and API out; adapters only, the work is done by stores and pure modules."""
