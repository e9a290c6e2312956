"""Asking a store: filters, views, the catalog."""
