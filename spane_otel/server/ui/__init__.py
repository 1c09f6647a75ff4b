"""The web UI: pages rendered here, kept current by modules in static/ that the browser loads as they are."""
