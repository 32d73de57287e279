"""Copies of the database, for the command line."""

from attwin.adapters.sqlite_backup import back_up, restore_copy

__all__ = ["back_up", "restore_copy"]
