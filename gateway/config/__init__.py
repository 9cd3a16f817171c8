"""The configuration file and the settings."""
