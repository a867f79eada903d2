"""The process that trains trials."""
