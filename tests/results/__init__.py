"""Results that fit, from outside."""
