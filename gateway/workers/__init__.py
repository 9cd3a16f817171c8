"""`serve --workers`: processes that serve one address, and a supervisor that starts them and serves nobody."""
