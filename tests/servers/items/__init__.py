"""What the everything server offers, one module for each kind."""
