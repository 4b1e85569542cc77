"""The modules of the specification: `src.monitoring.logger` becomes `watchfire.monitoring.logger`, and nothing else changes."""
