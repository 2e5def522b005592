"""Configuration files: models with their own checks, and the loader."""
