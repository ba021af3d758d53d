"""Adapters that give VAEs the interfaces of other libraries."""
