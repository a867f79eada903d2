"""The sections of a sweep file as pydantic models, and one trial as data."""
