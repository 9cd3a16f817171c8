"""HTTP APIs as servers."""
