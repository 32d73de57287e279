"""YAML to frozen dataclasses: every problem at once, with file, line and "did you mean"."""
