"""Schemathesis asks a running platform whatever its own OpenAPI document allows, and much that it does not."""
